"""What this worker is: cores per slot, the name of its device, the versions it runs. Without importing torch."""

import os
import platform
import re
import socket
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("ladder-hpo", "torch", "torchvision", "numpy", "celery")
_NVIDIA = Path("/proc/driver/nvidia/gpus")


def cores() -> int:
    """Cores that this process may use, which in a container can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_per_slot(slots: int, limit: str | None = None) -> int:
    """Threads of one trainer where ``slots`` train at the same time: more than its share makes all of them slower.

    ``limit`` is the operator's OMP_NUM_THREADS: who starts several workers on one machine shares out its cores so.
    """
    share = max(1, cores() // slots)
    return min(share, int(limit)) if limit is not None and limit.isdigit() and int(limit) > 0 else share


def device_name(proc: Path = _NVIDIA) -> str:
    """The first GPU's model as its driver names it, else the kind of processor."""
    for information in sorted(proc.glob("*/information")):
        model = re.search(r"^Model:\s*(.+)$", information.read_text(), re.MULTILINE)
        if model:
            return model[1].strip()
    return f"cpu ({platform.machine()}, {cores()} cores)"


def versions() -> dict[str, str]:
    """Versions of what decides how a trial trains, of those that are installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # a source tree that was not installed, or a worker without that extra
    return found


def worker_name(chosen: str | None) -> str:
    """The name under which a worker registers: unique among those alive, made of what names may hold."""
    if chosen is not None:
        return chosen
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).strip("._-") or "worker"
    return f"{host[:80]}-{os.getpid()}"
