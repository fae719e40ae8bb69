"""Trainers of the user's own: a function of an installed package, run as if it were one of ours.

A trainer is an entry point in the group ``ladder.trainers``, ``def train(config: Mapping[str, Any]) -> None``, which
calls ``ladder.report`` at the end of every step (ladder/training.py). It runs in a thread that is held in ``report``
until the step has been taken, so that it steps like a generator.
"""

import random
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from threading import Thread
from typing import Any, Protocol

import numpy as np
import torch

from models import own_checkpoint
from models.catalog import TRAINERS
from models.config_base import listed, shown
from models.device import device
from models.job import EpochResult, InvalidConfig, Setup, TrainJob, Watcher
from models.own_checkpoint import Kept
from models.own_state import encode
from models.seeds import derive
from models.session import Again, Began, Reported, Returned, Session, Stopped, Trial, installed

GROUP = "ladder.trainers"
END_S = 20.0  # what a function that was told to end has for its ``finally`` blocks

Function = Callable[[Mapping[str, Any]], object]


class TrainFunction(Protocol):
    """What models.train.train is."""

    def __call__(self, job: TrainJob, watcher: Watcher | None = None) -> Iterator[EpochResult]: ...


class StillRunning(BaseException):
    """A function that was told to end goes on: this process can train nothing else and has to be ended."""


def find(name: str, allowed: frozenset[str]) -> Function:
    """The function of the installed trainer ``name``; its package is imported.

    Raises InvalidConfig if it is not among ``allowed``, not installed, installed twice, or no function; and whatever
    the package raises when it is imported.
    """
    if name not in allowed:
        also = f", want one of {listed(allowed)} or a trainer of Ladder's own" if allowed else ""
        raise InvalidConfig("trainer", f"LADDER_TRAINERS of this worker does not allow {shown(name)}{also}")
    return _load(name)


def beside(ours: TrainFunction, allowed: frozenset[str]) -> TrainFunction:
    """``ours``, which is models.train.train, for the trainers of Ladder; the installed ones for all other names."""

    def train(job: TrainJob, watcher: Watcher | None = None) -> Iterator[EpochResult]:
        if job.trainer in TRAINERS:
            return ours(job, watcher)
        return train_own(job, find(job.trainer, allowed), watcher)

    return train


@cache  # looking through all installed packages takes longer than a small epoch
def _load(name: str) -> Function:
    points = list(entry_points(group=GROUP, name=name))
    if not points:
        known = listed(entry_points(group=GROUP).names) or "none"
        message = f"no package with the entry point {shown(name)} in the group {GROUP} is installed on this worker"
        raise InvalidConfig("trainer", f"{message}; installed: {known}")
    if len({point.value for point in points}) > 1:
        found = listed(f"{point.value} of {_package(point)}" for point in points)
        raise InvalidConfig("trainer", f"several packages call a trainer {shown(name)}: {found}; keep one of them")
    try:
        function: Function = points[0].load()
    except Exception as error:
        error.add_note(f"while importing the trainer {name!r}, {points[0].value} of {_package(points[0])}")
        raise
    if not callable(function):
        raise InvalidConfig("trainer", f"{points[0].value} of {_package(points[0])} is no function")
    return function


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unknown package"


def train_own(
    job: TrainJob, function: Function, watcher: Watcher | None = None, *, end_s: float = END_S
) -> Generator[EpochResult, None, None]:
    """Run ``function`` step by step; see models.train.train.

    If it returns before ``max_resource``, its last result is yielded once more with ``finished``. Closing the
    generator ends it: ``report`` raises Stopped there, and its thread is joined. Steps that the trial has reported, but
    of which it kept no state, are trained again first; what it reports of them counts for nothing.

    Raises what the function raises, RuntimeError if it returns too early to be told from one that does not report,
    CorruptCheckpoint, and StillRunning if it has not ended ``end_s`` seconds after it was told to.
    """
    kept = Kept() if job.resume is None else own_checkpoint.load(job.resume, job)
    session = Session(
        Trial(job.seed, job.max_resource, job.data_root, job.threads),
        from_step=job.from_step,
        state=kept.state,
        state_step=kept.state_step,
        copy=encode,
        reseed=partial(_reseed, job.seed),
    )
    if job.from_step == job.max_resource:
        return
    thread = Thread(target=_run, args=(job, function, session), name=f"trainer-{job.trainer}", daemon=True)
    thread.start()
    before = Reported(job.from_step, kept.metrics, seconds=0.0, state=encode(kept.state), state_step=kept.state_step)
    last = _result(job, before, finished=True)
    del kept, before  # states may be large
    try:
        while last.step < job.max_resource:
            said = session.said.get()
            if isinstance(said, Reported):
                last = _result(job, said, finished=True)
                yield _result(job, said)
                if said.step < job.max_resource:
                    session.go_on()
            elif isinstance(said, Returned):
                _judge(said, session, job)
                yield last
                return
            elif watcher is not None:
                _tell(watcher, said, job)
    finally:
        session.stop()
        thread.join(end_s)
        if thread.is_alive():
            raise StillRunning(f"the trainer {job.trainer!r} goes on {end_s:g} s after ladder.report told it to end")
        _tell_of_late_errors(session)


def _result(job: TrainJob, said: Reported, *, finished: bool = False) -> EpochResult:
    save = partial(own_checkpoint.save, job, said)
    return EpochResult(said.step, said.metrics, said.seconds, save, finished=finished)


def _judge(said: Returned, session: Session, job: TrainJob) -> None:
    """Raise what the function raised, or that it returned where it may not."""
    if said.error is not None:
        raise said.error
    if session.reported == 0:
        raise RuntimeError(f"the trainer {job.trainer!r} returned without a report: call ladder.report in every step")
    if session.reported < job.from_step:
        raise RuntimeError(
            f"the trainer {job.trainer!r} returned after step {session.reported}, but this trial has reported "
            f"{job.from_step} steps before: without a checkpoint of its own it must do the same again"
        )


def _tell_of_late_errors(session: Session) -> None:
    """Print what the function raised on being told to end: its trial has been decided on, nobody else is told."""
    while not session.said.empty():
        said = session.said.get()
        if isinstance(said, Returned) and said.error is not None:
            traceback.print_exception(said.error)


def _tell(watcher: Watcher, said: Began | Again, job: TrainJob) -> None:
    if isinstance(said, Began):
        watcher.started(Setup())
    else:
        watcher.progress(said.step, job.from_step)


def _run(job: TrainJob, function: Function, session: Session) -> None:
    """The function's thread."""
    error: BaseException | None = None
    try:
        with installed(session), _arithmetic(job.threads):
            _reseed(job.seed, 0)
            function(dict(job.config))
    except Stopped:
        pass
    except BaseException as raised:  # SystemExit too: it is raised again where the worker sees it
        error = raised
    session.ended(error)


def _reseed(seed: int, step: int) -> None:
    """Seed every global generator for a step, 0 for what comes before the first: a resumed trial draws the same."""
    random.seed(derive(seed, "python", step))
    np.random.seed(derive(seed, "numpy", step) % 2**32)  # noqa: NPY002 (the user's code may draw from it)
    torch.manual_seed(derive(seed, "torch", step))


@contextmanager
def _arithmetic(threads: int) -> Generator[None, None, None]:
    """The rules of models.device for this thread, but a kernel that has no deterministic form is only warned of."""
    usual = torch.get_default_dtype()
    exact = device().type == "cpu"
    torch.set_num_threads(threads)  # holds for the thread that calls it
    torch.use_deterministic_algorithms(exact, warn_only=True)
    torch.backends.cudnn.benchmark = not exact
    torch.set_float32_matmul_precision("highest" if exact else "high")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_default_dtype(usual)  # the next trial of this process expects it
