"""The most bytes that a piece of work holds at once."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile


def working_bytes(work: Callable[[], object], device: str | torch.device) -> int:
    """Most bytes that `work` holds at any moment on top of what was there before.

    On a GPU the allocator counts. On a CPU the profiler's record of every allocation is added up; oneDNN's scratch
    space is not in it.
    """
    if torch.device(device).type == "cpu":
        return _on_cpu(work)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _on_cpu(work: Callable[[], object]) -> int:
    # else the profiler of a CUDA build complains on stderr where there is no GPU, though it was asked for the CPU alone
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as recording:
        result = work()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        recording.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    del result  # held until here, so that its bytes are not given back while recording
    changes = [event for event in events if event.get("name") == "[memory]"]
    held = peak = 0
    for event in sorted(changes, key=lambda event: event["ts"]):
        held += event["args"]["Bytes"]
        peak = max(peak, held)
    return peak
