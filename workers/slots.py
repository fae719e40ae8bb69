"""Several slots on one machine: one worker process each, ended together."""

import ctypes
import multiprocessing
import os
import signal
import sys
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import structlog

from hpo.settings import Settings
from workers.devices import worker_name

log = structlog.get_logger(__name__)

_PR_SET_PDEATHSIG = 1


def run_slots(settings: Settings, threads: int) -> int:
    """Run ``settings.slots`` workers as processes until all have ended; returns the exit code.

    SIGTERM and SIGINT reach all of them. A slot that was drained ends alone; one that fails ends the others too, so
    that whoever restarts this process gets all slots back. A trial that ran out of memory before has the device to
    itself: the slots agree on that by files of this run (workers/room.py).
    """
    with TemporaryDirectory(prefix="ladder-device-") as device:  # not in a root that other machines may share
        return _run(settings, threads, Path(device))


def _run(settings: Settings, threads: int, device: Path) -> int:
    context = multiprocessing.get_context("spawn")  # a fork would copy the locks of threads that it does not have
    base = worker_name(settings.worker_name)
    slots: list[SpawnProcess] = []
    ending = False

    def end(_number: int = 0, _frame: FrameType | None = None) -> None:
        nonlocal ending
        ending = True
        for slot in slots:
            if slot.is_alive():
                slot.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    for index in range(settings.slots):
        own = settings.model_copy(update={"slots": 1, "worker_name": f"{base}-{index}"})
        slot = context.Process(target=_slot, args=(own, threads, device, os.getpid()), name=f"slot-{index}")
        slots.append(slot)
        slot.start()
    if ending:
        end()  # the signal came between two starts
    running, code = list(slots), 0
    while running:
        wait([slot.sentinel for slot in running])
        for slot in [slot for slot in running if not slot.is_alive()]:
            running.remove(slot)
            if slot.exitcode:
                log.error("slot_failed", slot=slot.name, code=slot.exitcode)
                code = 1
                end()
    return code


def _slot(settings: Settings, threads: int, device: Path, parent: int) -> None:
    from hpo.logs import configure_logs
    from workers.main import work  # here, because main imports this module

    configure_logs()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)
    sys.exit(work(settings, threads, device))
