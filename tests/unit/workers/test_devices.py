"""What a worker says of its machine."""

import sys
from pathlib import Path

import pytest

from workers.devices import cores, device_name, threads_per_slot, versions, worker_name
from workers.failures import oom_kills


@pytest.mark.parametrize("slots", [1, 2, 3, 1000])
def test_all_slots_together_use_no_more_threads_than_there_are_cores(slots: int) -> None:
    threads = threads_per_slot(slots)
    assert threads >= 1
    assert threads == 1 or threads * slots <= cores()


def test_an_operator_can_give_a_worker_fewer_threads_but_not_more() -> None:
    assert threads_per_slot(1, "1") == 1
    assert threads_per_slot(1, "100000") == cores()
    assert {threads_per_slot(1, limit) for limit in (None, "", "0", "4,2")} == {cores()}


def test_a_gpu_is_named_as_its_driver_names_it(tmp_path: Path) -> None:
    gpu = tmp_path / "0000:01:00.0"
    gpu.mkdir()
    (gpu / "information").write_text("Model: \t\t NVIDIA H200\nIRQ:   57\n")
    assert device_name(tmp_path) == "NVIDIA H200"


def test_without_a_gpu_the_device_is_the_processor(tmp_path: Path) -> None:
    assert device_name(tmp_path).startswith("cpu (")


def test_the_versions_are_those_of_what_is_installed() -> None:
    found = versions()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"torch", "numpy", "celery"} <= set(found)


def test_a_worker_without_a_name_gets_one_that_the_api_takes() -> None:
    assert worker_name("cpu-1") == "cpu-1"
    assert worker_name(None)[0].isalnum()
    assert set(worker_name(None)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def test_kills_for_memory_are_counted_where_the_kernel_counts_them(tmp_path: Path) -> None:
    cgroup, events = tmp_path / "cgroup", tmp_path / "root/box/memory.events"
    cgroup.write_text("0::/box\n")
    events.parent.mkdir(parents=True)
    events.write_text("low 0\noom 4\noom_kill 3\n")
    assert oom_kills(cgroup, tmp_path / "root") == 3
    assert oom_kills(tmp_path / "none", tmp_path / "root") == 0
