"""Several slots of one worker: one process per slot, started again when it ends by itself."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from hpo.settings import Settings
from ladder.process import Process, spawn

POLL_S = 0.2
QUICK_S = 10.0  # a worker that fails this soon after its start is refused or misconfigured: another try would not help
LONGEST_WAIT_S = 30.0


class Refused(Exception):
    """A worker failed right after its start."""


class Slot:
    """One worker process and those that replace it. A worker that ends may have wanted its memory given back."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._failures = 0
        self._due: float | None = None
        self._start()

    def _start(self) -> None:
        self.process = spawn(
            self._name,
            [sys.executable, "-m", "ladder", "worker"],
            log=None,
            env=_environment(self._settings, self._name),
            death_signal=signal.SIGTERM,
        )
        self._started_at = time.monotonic()

    def tend(self, now: float) -> None:
        """Start the process again if it has ended, failures after a growing wait. Raises Refused."""
        if self.process.alive:
            return
        if self._due is None:
            failed = self.process.exit_code != 0
            if failed and now - self._started_at < QUICK_S:
                raise Refused(self._name)
            self._failures = self._failures + 1 if failed else 0
            self._due = now + min(LONGEST_WAIT_S, 2.0**self._failures - 1)
        if now >= self._due:
            self._due = None
            self._start()


def supervise(settings: Settings) -> int:
    """Run ``settings.slots`` workers until SIGTERM or SIGINT, which they get too; the worst of their exit codes.

    A worker that fails right after its start ends them all.
    """
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    base = settings.worker_name or f"{socket.gethostname()}-{os.getpid()}"
    slots: list[Slot] = []
    try:
        slots += [Slot(settings, f"{base}.{number}") for number in range(1, settings.slots + 1)]
        with suppress(Refused):  # its exit code says it
            while not stop.wait(POLL_S):
                for slot in slots:
                    slot.tend(time.monotonic())
    finally:
        codes = _stop_all([slot.process for slot in slots], settings.drain_s + 5)
        for number, handler in before.items():
            signal.signal(number, handler)
    return max(codes, default=0)


def _stop_all(processes: Sequence[Process], timeout_s: float) -> list[int]:
    """Ask all at once, then wait for each; their exit codes as a shell gives them."""
    for process in processes:
        process.send(signal.SIGTERM)
    codes = [process.stop(timeout_s=timeout_s) for process in processes]
    return [128 - code if code < 0 else code for code in codes]


def _environment(settings: Settings, name: str) -> dict[str, str]:
    named = {
        "LADDER_SLOTS": "1",
        "LADDER_WORKER_NAME": name,
        "LADDER_QUEUE": settings.queue,
        "LADDER_URL": settings.url,
        "LADDER_REDIS_URL": settings.redis_url.get_secret_value(),
        "LADDER_CHECKPOINT_ROOT": str(settings.checkpoint_root),
        "LADDER_DATA_ROOT": str(settings.data_root),
    }
    if settings.token is not None:
        named["LADDER_TOKEN"] = settings.token.get_secret_value()
    return {**os.environ, **named}
