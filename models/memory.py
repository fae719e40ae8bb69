"""How much memory a job takes: of the GPU's tensors if there is one, else of this process. Imports no torch."""

import os
import resource
import sys
from pathlib import Path

_PROC = Path("/proc/self")


def forget_peak() -> None:
    """Begin to measure anew: the process trains one job after another, and the largest must not be held against all."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    reset = _PROC / "clear_refs"
    if os.access(reset, os.W_OK):
        reset.write_text("5")  # proc(5): the peak of the resident set size


def peak_bytes() -> int:
    """The most in use at once since ``forget_peak``; where the system cannot forget, since the process started."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    status = _PROC / "status"
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
