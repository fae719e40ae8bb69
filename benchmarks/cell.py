"""One cell of the measurement: W worker processes run trials in a common window, whoever they talk to.

Both sides are driven by this file, so that they are measured in the same way. Workers run on before and after the
window: a trial that crosses an end of it counts by the part of its time that lies inside. So a cell with few and long
trials is measured as exactly as one with many short ones.
"""

import os
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from typing import Any, Literal, Protocol

Side = Literal["ladder", "rdb", "journal"]
Sampler = Literal["random", "tpe"]

SIDES: tuple[Side, ...] = ("ladder", "rdb", "journal")
REPORTS = 5  # rungs of a trial, each with a decision
MIN_RESOURCE, REDUCTION_FACTOR = 1, 2
STEPS = tuple(MIN_RESOURCE * REDUCTION_FACTOR**rung for rung in range(REPORTS))
PARAMS = ("x", "y", "noise", "epoch_s")  # of the synthetic trainer, each a float in [0, 1]

READY_S = 900.0  # a peer's 32 processes each load 5,000 trials first, on few cores
LONGEST_TRIAL_S = 300.0


@dataclass(frozen=True, slots=True)
class Cell:
    """What is measured: who, with which sampler, by how many workers, with how many finished trials at the start."""

    side: Side
    sampler: Sampler
    workers: int
    size: int

    def __str__(self) -> str:
        return f"{self.side} {self.sampler} W={self.workers} size={self.size}"


def loss(began_at: float) -> float:
    """A loss that falls with the time since the study began and lies below all of the pre-filled ones.

    So every report is among the best of its rung: no trial ends early, on any side, and each has its five decisions.
    """
    return 1.0 - (time.monotonic() - began_at) / 1e6


@dataclass(slots=True)
class WorkerLog:
    """What one worker did; instants are of the monotonic clock, which all processes of a machine share."""

    trials: list[tuple[float, float]] = field(default_factory=list)  # from the end of the one before to its own
    calls: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)  # reports, empty_claims, cut_short

    def call(self, kind: str, began: float) -> float:
        """Note a call that began at ``began`` and has just ended; returns its end."""
        ended = time.monotonic()
        self.calls[kind].append((began, ended))
        return ended


class TrialRunner(Protocol):
    """One simulated worker's connection to a side."""

    def connect(self) -> None:
        """Open connections afresh: the ones before have idled while the other workers got ready."""
        ...

    def run_trial(self, log: WorkerLog) -> None:
        """One whole trial, all its calls noted."""
        ...


@dataclass(frozen=True, slots=True)
class Window:
    logs: list[WorkerLog]
    began: float
    ended: float


class _Gate:
    """What the workers of a cell share with the process that measures them."""

    def __init__(self, context: ForkServerContext, workers: int) -> None:
        self.barrier = context.Barrier(workers + 1)
        self.window = context.Array("d", [0.0, 0.0])
        self.through = context.Semaphore(0)  # a worker's first trial that ended after the window
        self.stop = context.Event()
        self.logs = context.SimpleQueue()


def measure(
    workers: int, runner: Callable[..., TrialRunner], arguments: tuple[Any, ...], *, warm_up_s: float, seconds: float
) -> Window:
    """Run ``runner(index, *arguments)`` in ``workers`` processes and return what they did around the window.

    Raises RuntimeError with the worker's own traceback if one of them fails.
    """
    # A fork server: libraries are loaded once, and no child inherits a connection.
    context = get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.ladder_side", "benchmarks.peers"])
    gate = _Gate(context, workers)
    processes = [
        context.Process(target=_work, args=(gate, runner, (index, *arguments)), daemon=True) for index in range(workers)
    ]
    for process in processes:
        process.start()
    try:
        began = _open(gate, warm_up_s, seconds)
        deadline = began + seconds + LONGEST_TRIAL_S
        late = sum(not gate.through.acquire(timeout=max(0.0, deadline - time.monotonic())) for _ in range(workers))
        gate.stop.set()
        if late:
            raise RuntimeError(f"{late} of {workers} workers ended no trial in {LONGEST_TRIAL_S:.0f} s")
        logs = [_log(gate) for _ in range(workers)]
    finally:
        for process in processes:
            process.join(timeout=10 if gate.stop.is_set() else 0)
            process.kill()
            process.join()
    return Window(logs, began, began + seconds)


def _open(gate: _Gate, warm_up_s: float, seconds: float) -> float:
    """Wait until every worker has run a trial, then let all go on; returns the beginning of the window."""
    deadline = time.monotonic() + READY_S
    parties = gate.barrier.parties
    while gate.barrier.n_waiting < parties - 1 and not gate.barrier.broken:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {gate.barrier.n_waiting} of {parties - 1} workers were ready in {READY_S:.0f} s")
        time.sleep(0.02)
    if gate.barrier.broken:
        _log(gate)
    began = time.monotonic() + warm_up_s
    gate.window[:] = [began, began + seconds]
    gate.barrier.wait()
    return began


def _log(gate: _Gate) -> WorkerLog:
    sent = gate.logs.get()
    if isinstance(sent, str):
        raise RuntimeError(f"a worker failed:\n{sent}")
    assert isinstance(sent, WorkerLog)
    return sent


def _work(gate: _Gate, runner: Callable[..., TrialRunner], arguments: tuple[Any, ...]) -> None:
    """The life of one worker process."""
    # Linux shares CPU by session (autogroups), and every Postgres backend, API and control process is one of its own. W
    # workers in the session of a terminal would get the share of one: Optuna does its work there, and was measured at a
    # quarter of its speed on a busy machine.
    os.setsid()
    try:
        gate.logs.put(_trials(gate, runner(*arguments)))
    except Exception:  # whatever it is, the measuring process is the one to tell
        gate.logs.put(traceback.format_exc())
        gate.barrier.abort()
        gate.through.release()


def _trials(gate: _Gate, runner: TrialRunner) -> WorkerLog:
    runner.connect()
    runner.run_trial(WorkerLog())  # caches are filled by a trial that nobody counts
    gate.barrier.wait(READY_S)  # so that no worker outlives a measuring process that was killed
    runner.connect()
    log, through, end = WorkerLog(), False, gate.window[1]
    last = time.monotonic()
    while not gate.stop.is_set():
        runner.run_trial(log)
        now = time.monotonic()
        log.trials.append((last, now))
        last = now
        if now > end and not through:
            through = True
            gate.through.release()
    return log
