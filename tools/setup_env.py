"""Builds .venv with everything that the notebooks, the library and the tests need. `make setup` calls it.

This file finds a suitable Python and no more. It must parse on any Python, old ones too: else their users would
see a syntax error instead of a sentence. The work is in setup_steps.py.
"""

import os
import subprocess
import sys

SUITABLE = ((3, 12), (3, 11))  # as requires-python in pyproject.toml
ASK = "import sys; print('%d.%d %s' % (sys.version_info[0], sys.version_info[1], sys.executable))"


def other_python(run=subprocess.check_output):
    """Path of a suitable Python on PATH, or None. A name may exist and not run, as pyenv's stand-ins do."""
    for major, minor in SUITABLE:
        name = "python%d.%d" % (major, minor)
        try:
            version, path = run([name, "-c", ASK], stderr=subprocess.STDOUT).decode().strip().split(" ", 1)
        except (OSError, subprocess.CalledProcessError, ValueError):
            continue
        if version == "%d.%d" % (major, minor):
            return path
    return None


def complaint(version, path):
    """What to tell whose Python is too old or too new, with no other one in sight."""
    wanted = " or ".join("%d.%d" % pair for pair in sorted(SUITABLE))
    age = "old" if version < min(SUITABLE) else "new"
    return (
        "RFLAV Lab needs Python %s. %s is Python %d.%d, which is too %s, and there is no other on the PATH.\n"
        "Install one (Debian: apt install python3.11 python3.11-venv; conda users: see environment.yml;\n"
        "pyenv users: pyenv install 3.12 && pyenv local 3.12), or say where it is:\n"
        "    make setup PYTHON=/path/to/python3.12"
    ) % (wanted, path, version[0], version[1], age)


def main(version=sys.version_info[:2], find=other_python, hand_over=os.execv):
    """Run the setup here, or in another Python that suits, or explain. Returns the exit status."""
    version = tuple(version)
    if version in SUITABLE:
        import setup_steps

        return setup_steps.main()
    other = find()
    if other is None:
        sys.stderr.write(complaint(version, sys.executable) + "\n")
        return 1
    sys.stdout.write("Python %d.%d does not suit; using %s\n" % (version[0], version[1], other))
    sys.stdout.flush()
    hand_over(other, [other, os.path.abspath(__file__)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
