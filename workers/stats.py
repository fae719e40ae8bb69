"""What a worker tells of its device and itself with every heartbeat. Without torch: NVIDIA's own library is asked."""

import math
import os
from collections.abc import Mapping
from importlib import import_module
from threading import Lock
from typing import Any

import psutil
import structlog

from api.schemas.workers import WorkerStats

log = structlog.get_logger(__name__)

# How runs end that came to where they were to; a diverged trial is a result. Whoever was asked to stop is neither.
DONE = frozenset({"complete", "pause", "stop", "finished", "diverged"})
FAILED = frozenset({"user_error", "oom", "infra", "stalled", "gone"})


class Stats:
    """Counts what the runner tells it; ``measure`` may be called from another thread."""

    def __init__(self, gpu: "Gpu | None" = None) -> None:
        self._gpu = gpu
        self._lock = Lock()
        self._done = self._failed = 0
        self._images_per_s: float | None = None
        psutil.cpu_percent(None)  # the first answer is of no interval

    def ended(self, how: str) -> None:
        """A run has ended, as ``workers.events.Ended`` says."""
        with self._lock:
            self._done += how in DONE
            self._failed += how in FAILED
            self._images_per_s = None

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """An epoch has ended. The metrics come from trial code: what is no speed is none."""
        speed = metrics.get("images_per_s", math.nan)
        with self._lock:
            self._images_per_s = speed if math.isfinite(speed) and speed >= 0 else None

    def measure(self) -> WorkerStats:
        measured = (None if self._gpu is None else self._gpu.measure()) or _cpu()
        with self._lock:
            speed = {"images_per_s": self._images_per_s, "done": self._done, "failed": self._failed}
        return WorkerStats.model_validate(measured | speed)


def _cpu() -> dict[str, Any]:
    """The machine's processors and memory: all slots of it share them."""
    memory = psutil.virtual_memory()
    return {
        "util": min(1.0, psutil.cpu_percent(None) / 100),
        "memory_used_bytes": memory.total - memory.available,
        "memory_total_bytes": memory.total,
    }


class Gpu:
    """The GPU that trainers of this process see first, by NVML (the package nvidia-ml-py)."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    def measure(self) -> dict[str, Any] | None:
        """None while the driver does not tell."""
        nvml, handle = self._nvml, self._handle
        try:
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            found: dict[str, Any] = {"memory_used_bytes": int(memory.used), "memory_total_bytes": int(memory.total)}
        except nvml.NVMLError as error:
            log.warning("gpu_tells_nothing", error=str(error))
            return None
        # Of a part of a device (MIG) these two are not known.
        for name, ask in (
            ("util", lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100),
            ("temperature_c", lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))),
        ):
            try:
                found[name] = ask()
            except nvml.NVMLError as error:
                log.debug("gpu_does_not_tell", what=name, error=str(error))
        return found


def find_gpu(visible: str | None = None) -> Gpu | None:
    """The first GPU of ``visible`` (by default CUDA_VISIBLE_DEVICES); None without one, or without the package."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") if visible is None else visible
    first = "0" if visible is None else visible.split(",")[0].strip()
    try:
        nvml = import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        if first.isdecimal():
            handle = nvml.nvmlDeviceGetHandleByIndex(int(first))
        elif first.startswith(("GPU-", "MIG-")):
            handle = nvml.nvmlDeviceGetHandleByUUID(first)
        else:
            return None  # CUDA_VISIBLE_DEVICES hides all of them
    except nvml.NVMLError as error:
        log.info("no_gpu_to_measure", error=str(error))
        return None
    return Gpu(nvml, handle)
