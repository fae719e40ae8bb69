"""The spawned child, ``python -m workers.trainer``: the only process that imports torch. Warm, credential-free.

It reads orders from one pipe and answers on another, both JSON lines; what trial code prints, on stdout and stderr, the
worker takes for the trial's log. It never outlives its worker.
"""

import ctypes
import gc
import os
import queue
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from threading import Thread
from typing import BinaryIO, NoReturn, Protocol

from api.schemas.base import metric_out
from api.schemas.leases import MAX_CLASSES, CheckpointIn
from hpo.checkpoints.base import file_name
from hpo.settings import Settings
from models.job import BadData, Diverged, EpochResult, InvalidConfig, Setup, TrainJob, Watcher
from models.memory import peak_bytes
from workers.protocol import (
    TAIL_BYTES,
    Batch,
    Drop,
    Epoch,
    Failed,
    Finished,
    Go,
    Order,
    Park,
    Parked,
    Progress,
    Ready,
    Said,
    Train,
    order,
)

_MAX_UNSAVED = 3  # checkpoints that may fail in a row before the disk is taken for full
_MESSAGE_CHARS = 2000
_NO_MEMORY = ("can't allocate memory", "STATUS_ALLOC_FAILED", "out of memory")
_PROGRESS_EVERY_S = 1.0
_PR_SET_PDEATHSIG = 1

Say = Callable[[Said], None]


class TrainFunction(Protocol):
    def __call__(self, job: TrainJob, watcher: Watcher | None = None) -> Iterator[EpochResult]: ...


@dataclass(slots=True)
class _Telling:
    """Tells the worker how a run is set up and how it gets on within a step."""

    say: Say
    run: int
    _said_at: float = field(default=-_PROGRESS_EVERY_S, init=False)

    def progress(self, done: int, total: int) -> None:
        now = time.monotonic()
        # A reader may call it for every image; that all is done is told at any rate, since nothing may follow for long.
        if done == total or now >= self._said_at + _PROGRESS_EVERY_S:
            self._said_at = now
            self.say(Progress(run=self.run, done=done, total=total))

    def started(self, setup: Setup) -> None:
        names = setup.class_names if len(setup.class_names) <= MAX_CLASSES else ()
        batch = {
            "run": self.run,
            "split_sha256": setup.split_sha256,
            "class_names": [_clean(name)[:255] for name in names],
        }
        self.say(Batch.model_validate(batch))


class _SaveFailed(Exception):
    """A checkpoint that the protocol needs could not be written."""


def serve(train: TrainFunction, orders: "queue.SimpleQueue[Order]", say: Say) -> NoReturn:
    """Train one trial after another, for as long as the worker lives."""
    while True:
        command = orders.get()
        if isinstance(command, Train):  # anything else is about a run that has ended already
            run(command, train, orders, say)


def run(task: Train, train: TrainFunction, orders: "queue.SimpleQueue[Order]", say: Say) -> None:
    """Train one trial; every way it can end is said, none is raised."""

    def failed(error: BaseException, kind: str, *, soiled: bool) -> None:
        message = _clean(str(error))[:_MESSAGE_CHARS] or type(error).__name__
        lines = _clean("".join(traceback.format_exception(error)))[-TAIL_BYTES:]
        body = {"run": task.run, "kind": kind, "message": message, "traceback": lines, "soiled": soiled}
        say(Failed.model_validate(body))

    try:
        results = train(task.job(), _Telling(say, task.run))
        try:
            _train(task, results, orders, say)
        finally:
            if isinstance(results, Generator):
                results.close()  # now and not when it is collected: an installed trainer may have to be ended
    except Diverged as error:
        metrics = {name: metric_out(value) for name, value in error.metrics.items()}
        body = {"run": task.run, "kind": "diverged", "message": str(error), "step": error.step, "metrics": metrics}
        say(Failed.model_validate({**body, "soiled": False}))
    except (BadData, InvalidConfig) as error:
        failed(error, "user_error", soiled=False)
    except _SaveFailed as error:
        failed(error, "infra", soiled=False)
    except (Exception, SystemExit) as error:
        kind = _kind(error)
        failed(error, kind, soiled=kind != "corrupt")


def _train(task: Train, results: Iterator[EpochResult], orders: "queue.SimpleQueue[Order]", say: Say) -> None:
    target, unsaved, step = task.target_step, 0, task.from_step
    for result in results:
        if result.finished and result.step == step:
            say(Finished(run=task.run))  # of its own accord, after a step that has been said already
            return
        step = result.step
        asked = _asked(task, orders, wait=False)
        if isinstance(asked, Drop):
            return
        target = asked.target_step if isinstance(asked, Go) else target
        parking, waits = isinstance(asked, Park), step in task.rungs or step >= target
        checkpoint, kept = None, parking or waits or result.finished
        if kept or step % task.checkpoint_every == 0:
            checkpoint, error = _save(result, task)
            unsaved = 0 if checkpoint else unsaved + 1
            # Between rungs training goes on without a checkpoint; at a rung there would be nothing to promote.
            if checkpoint is None and (kept or unsaved >= _MAX_UNSAVED):
                raise _SaveFailed(f"cannot write the checkpoint of step {step}: {error}")
        say(_epoch(task, result, checkpoint, waits=waits))
        # Of one that is finished whatever the answer is: at a rung it may be another than that the trial is complete.
        if waits and not parking and not result.finished:
            asked = _asked(task, orders, wait=True)
            if isinstance(asked, Go):
                target = asked.target_step
                continue
            parking = isinstance(asked, Park)
        if parking and not result.finished:
            say(Parked(run=task.run))
        if parking or waits or result.finished:
            return
    _without_a_word(task, step, target, say)


def _without_a_word(task: Train, step: int, target: int, say: Say) -> None:
    """The trainer has ended short of the target and did not say that it would."""
    if task.resume is None or step != task.from_step:
        raise RuntimeError(f"the trainer {task.trainer!r} ended after step {step}, wanted {target}")
    # It had said so in an earlier attempt: the trial was paused at that very step and promoted since, or the worker
    # died before it could tell.
    say(Finished(run=task.run))


def _asked(task: Train, orders: "queue.SimpleQueue[Order]", *, wait: bool) -> Go | Park | Drop | None:
    """The strongest of the orders about this run that have come; with ``wait``, the next one."""
    asked: Go | Park | Drop | None = None
    while not orders.empty() or (wait and asked is None):
        new = orders.get()
        assert not isinstance(new, Train), "a run is dropped before the next one begins"
        if new.run == task.run and not (isinstance(asked, Park) and isinstance(new, Go)):
            asked = new
        if isinstance(asked, Drop):
            return asked  # what follows it is about the next run
    return asked


def _save(result: EpochResult, task: Train) -> tuple[CheckpointIn | None, OSError | None]:
    try:
        saved = result.save(task.directory / file_name(result.step))
    except OSError as error:
        return None, error
    return CheckpointIn(step=saved.step, sha256=saved.sha256, size_bytes=saved.size_bytes), None


def _epoch(task: Train, result: EpochResult, checkpoint: CheckpointIn | None, *, waits: bool) -> Epoch:
    return Epoch.model_validate(
        {
            "run": task.run,
            "step": result.step,
            "metrics": {name: metric_out(float(value)) for name, value in result.metrics.items()},
            "seconds": result.seconds,
            "checkpoint": checkpoint,
            "waits": waits,
            "finished": result.finished,
            "confusion": _confusion(result) if waits or result.finished else None,
            "peak_memory_bytes": peak_bytes(),
        }
    )


def _confusion(result: EpochResult) -> list[list[int]] | None:
    if result.confusion is None or len(result.confusion) > MAX_CLASSES:
        return None
    return [list(row) for row in result.confusion]


def _clean(text: str) -> str:
    return text.encode(errors="replace").decode().replace("\x00", "")  # what JSON and Postgres can hold


def _kind(error: BaseException) -> str:
    # By name, where the class lives in a module that imports torch: this one must start without it.
    name = type(error).__name__
    if name == "CorruptCheckpoint":
        return "corrupt"
    # The CPU allocator, cuBLAS and cuDNN raise a plain RuntimeError.
    no_memory = isinstance(error, RuntimeError) and any(sign in str(error) for sign in _NO_MEMORY)
    return "oom" if no_memory or isinstance(error, MemoryError) or name == "OutOfMemoryError" else "user_error"


def listen(source: BinaryIO, orders: "queue.SimpleQueue[Order]", on_end: Callable[[], None]) -> None:
    """Queue what the worker orders; its pipe ends when it dies, however it dies."""
    try:
        for line in source:
            orders.put(order(line))
    finally:
        on_end()


def die() -> None:
    """End this process and whatever trial code started beside it."""
    os.killpg(0, signal.SIGKILL)


def die_with(parent: int) -> None:
    """Let the kernel kill this process when its worker dies, even while C code holds the interpreter."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel was asked
        die()


def main(train: TrainFunction | None = None) -> NoReturn:
    """``argv``: descriptor of the orders, descriptor of the answers, process id of the worker."""
    orders_fd, answers_fd, parent = (int(value) for value in sys.argv[1:4])
    die_with(parent)
    for descriptor in (orders_fd, answers_fd):
        os.set_inheritable(descriptor, False)
    answers = os.fdopen(answers_fd, "wb")
    orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
    Thread(target=listen, args=(os.fdopen(orders_fd, "rb"), orders, die), daemon=True).start()

    def say(answer: Said) -> None:
        answers.write(answer.line())
        answers.flush()

    if train is None:
        # Here and not above: the process must already be tied to its worker during the seconds that torch takes.
        from models import own
        from models import train as training

        training.warm_up(int(os.environ["OMP_NUM_THREADS"]))
        train = own.beside(training.train, frozenset(Settings().trainers))
    gc.freeze()  # what was imported lives as long as the process: collections need not look at it again
    say(Ready())
    serve(train, orders, say)


if __name__ == "__main__":
    main()
