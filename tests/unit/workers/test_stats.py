"""What a worker tells of its device and itself, with and without a GPU that answers."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from workers.stats import Gpu, Stats, find_gpu


class NvmlError(Exception):
    pass


def nvml(*, count: int = 2, refuses: tuple[str, ...] = ()) -> Any:
    """NVIDIA's library as far as it is asked, for ``count`` devices; what it ``refuses`` raises its error."""

    def answer(name: str, value: Any) -> Any:
        def ask(*args: Any) -> Any:
            if name in refuses:
                raise NvmlError(name)
            return value(*args) if callable(value) else value

        return ask

    def by_index(index: int) -> str:
        if index >= count:
            raise NvmlError("invalid argument")
        return f"device {index}"

    return SimpleNamespace(
        NVMLError=NvmlError,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=answer("init", None),
        nvmlDeviceGetHandleByIndex=answer("index", by_index),
        nvmlDeviceGetHandleByUUID=answer("uuid", str),
        nvmlDeviceGetMemoryInfo=answer("memory", SimpleNamespace(used=11, total=139)),
        nvmlDeviceGetUtilizationRates=answer("util", SimpleNamespace(gpu=94)),
        nvmlDeviceGetTemperature=answer("temperature", 61),
    )


def test_without_a_gpu_the_processors_and_the_memory_are_told() -> None:
    told = Stats().measure()
    assert told.util is not None
    assert 0 <= told.util <= 1
    assert told.memory_used_bytes is not None
    assert told.memory_total_bytes is not None
    assert 0 < told.memory_used_bytes < told.memory_total_bytes
    assert (told.temperature_c, told.images_per_s, told.done, told.failed) == (None, None, 0, 0)


def test_a_gpu_tells_of_itself_and_keeps_quiet_of_what_it_does_not_know() -> None:
    told = Stats(Gpu(nvml(), "device 0")).measure()
    assert (told.util, told.memory_used_bytes, told.memory_total_bytes, told.temperature_c) == (0.94, 11, 139, 61.0)
    part = Stats(Gpu(nvml(refuses=("util", "temperature")), "MIG-1")).measure()
    assert (part.util, part.memory_used_bytes, part.temperature_c) == (None, 11, None)


def test_a_gpu_that_has_gone_leaves_the_machine_to_tell_of() -> None:
    told = Stats(Gpu(nvml(refuses=("memory",)), "device 0")).measure()
    assert told.memory_total_bytes not in (None, 139)


@pytest.mark.parametrize(
    ("visible", "handle"),
    [
        ("1,0", "device 1"),
        ("0", "device 0"),
        ("GPU-abc", "GPU-abc"),
        ("MIG-x", "MIG-x"),
        ("", None),
        ("-1", None),
        ("7", None),
    ],
)
def test_the_first_gpu_that_trainers_see_is_asked(
    monkeypatch: pytest.MonkeyPatch, visible: str, handle: str | None
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    found = find_gpu(visible)
    assert (None if found is None else found._handle) == handle


def test_without_the_library_or_its_driver_there_is_no_gpu_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert find_gpu("0") is None
    monkeypatch.setitem(sys.modules, "pynvml", nvml(refuses=("init",)))
    assert find_gpu("0") is None


def test_runs_are_counted_by_how_they_ended() -> None:
    stats = Stats()
    for how in ("complete", "pause", "stop", "diverged", "user_error", "oom", "drained", "lease_lost"):
        stats.ended(how)
    told = stats.measure()
    assert (told.done, told.failed) == (4, 2)


def test_a_speed_is_told_while_a_trial_runs_and_only_if_it_is_one() -> None:
    stats = Stats()
    stats.epoch({"images_per_s": 41_000.0})
    assert stats.measure().images_per_s == 41_000.0
    for nonsense in ({"images_per_s": float("inf")}, {"images_per_s": -1.0}, {"loss": 1.0}):
        stats.epoch(nonsense)
        assert stats.measure().images_per_s is None
    stats.epoch({"images_per_s": 1.0})
    stats.ended("complete")
    assert stats.measure().images_per_s is None
