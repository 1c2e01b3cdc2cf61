"""What a notebook's kernel finds in its environment, the same when outputs are recorded and when they are checked."""

KERNEL_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",  # nothing here needs a download; one that slips in fails at once instead of hanging
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # silences a warning of the debugger about frozen modules
}

RECORDING_ENVIRONMENT = KERNEL_ENVIRONMENT | {
    # ipykernel captures what C libraries print, unless this is set, as it is under pytest
    "PYTEST_CURRENT_TEST": "execute_notebooks",
}
