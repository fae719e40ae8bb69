"""Training of your own against a study: ``with client.worker("lab-7").lease("my-study") as trial: …``.

The study's trainer is ``external``; docs/python.md walks through it.
"""

import hashlib
import os
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from uuid import UUID

from api.schemas.base import metric_out
from api.schemas.leases import AskIn, Assignment, CheckpointRef, ErrorIn, ReleaseIn, ReportIn, TellIn
from api.schemas.trials import ArtifactRead
from hpo.domain.trial import EndClass
from ladder.errors import (
    ApiError,
    LeaseLost,
    NotFoundError,
    StudyOver,
    TrialEnded,
    TrialPaused,
    TrialStopped,
    WaitTimeout,
)
from ladder.leases import Leases
from ladder.study import seconds
from ladder.trial_calls import TrialCalls

WAIT_S = 1.0  # before asking again, where the server does not say
BEATS = 3  # heartbeats in the time that a lease lasts
MAX_TEXT, MAX_TRACEBACK = 10_000, 20_000  # characters that the server takes


class ExternalWorker:
    """A worker of your own by name; it needs no registration."""

    def __init__(self, leases: Leases, trials: TrialCalls, name: str) -> None:
        self._leases, self._trials, self.name = leases, trials, name

    @contextmanager
    def lease(
        self, study: str, *, lease_s: float | None = None, timeout: float | str | timedelta | None = None
    ) -> Iterator["LeasedTrial"]:
        """Take one trial of a study and hold it for the ``with`` block; waits while the study has none to give.

        ``lease_s`` is how long the server waits for a sign of life, which a thread gives. Raises StudyOver if the
        study has ended, WaitTimeout after ``timeout`` (seconds, or text such as "10m").
        """
        trial = self._take(study, lease_s, None if timeout is None else time.monotonic() + seconds(timeout))
        if trial is None:
            raise StudyOver(f"study {study} has ended and has no trial to lease")
        with trial:
            yield trial

    def trials(self, study: str, *, lease_s: float | None = None) -> Iterator["LeasedTrial"]:
        """One trial after the other until the study has ended; each is held by ``with trial:``."""
        while (trial := self._take(study, lease_s, None)) is not None:
            yield trial

    def _take(self, study: str, lease_s: float | None, deadline: float | None) -> "LeasedTrial | None":
        while True:
            reply = self._leases.ask(study, AskIn(worker=self.name, lease_s=lease_s))
            if reply.trials:
                return LeasedTrial(self._leases, self._trials, reply.trials[0])
            if reply.reason == "finished":
                return None
            wait_s = reply.retry_after_s or WAIT_S
            if deadline is not None and time.monotonic() + wait_s > deadline:
                raise WaitTimeout(f"study {study} has no trial to lease so far: {reply.reason}")
            time.sleep(wait_s)


class LeasedTrial:
    """A trial that is this process's to train inside of a ``with`` block.

    Leaving the block ends the trial: complete after the last epoch or a ``break``, failed with an exception, handed
    back unfinished on Ctrl-C. TrialPaused and TrialStopped, which ``report`` raises, end the block without a word to
    what stands around it; ``state`` then says which. LeaseLost goes through: the work is void.
    """

    def __init__(self, leases: Leases, trials: TrialCalls, assignment: Assignment) -> None:
        self._leases, self._trials, self._assignment = leases, trials, assignment
        self.state: Literal["held", "complete", "paused", "stopped", "failed", "released", "lost"] = "held"
        self._asked: str | None = None
        self._corrupt: list[UUID] = []
        self._restored = self._current = self._reported = 0
        self._began = self._taken = time.monotonic()
        self._setup_s: float | None = None
        self._quit = threading.Event()
        self._beats = threading.Thread(target=self._beat, name=f"lease-{assignment.number}", daemon=True)

    @property
    def params(self) -> dict[str, Any]:
        """The configuration to train: only the parameters that are active in it."""
        return self._assignment.params

    @property
    def config(self) -> dict[str, Any]:
        """The trainer's configuration of the study with the params merged in."""
        return self._assignment.config

    @property
    def study(self) -> str:
        return self._assignment.study

    @property
    def number(self) -> int:
        return self._assignment.number

    @property
    def attempt(self) -> int:
        return self._assignment.attempt

    @property
    def seed(self) -> int:
        """Differs from trial to trial, the same in every attempt."""
        return self._assignment.seed

    @property
    def max_resource(self) -> int:
        """Epochs of a whole trial."""
        return self._assignment.max_resource

    @property
    def should_stop(self) -> bool:
        """Whether the server has asked for the trial to end; ``report`` raises then."""
        return self._asked is not None or self.state == "lost"

    def epochs(self) -> Iterator[int]:
        """The epochs to train, from 1 or from past the restored checkpoint, while more are wanted.

        Raises RuntimeError if one was not reported before the next is asked for.
        """
        for epoch in range(self._restored + 1, self.max_resource + 1):
            self._current, self._began = epoch, time.monotonic()
            if self._setup_s is None:
                self._setup_s = self._began - self._taken
            yield epoch
            if self._reported < epoch:
                raise RuntimeError(f"epoch {epoch} was not reported: call report({epoch}, metric=value) in the loop")
            if self.state != "held":
                return

    def report(self, epoch: int, /, **metrics: Any) -> None:
        """Say how an epoch has ended: numbers, also not finite ones, or tensors of one element.

        Returns if the trial goes on, or was complete with this epoch. Raises TrialPaused, TrialStopped, LeaseLost;
        ApiError if the server refuses the report, which it says why.
        """
        self._check_held()
        body = ReportIn(
            lease=self._lease,
            step=epoch,
            metrics={name: metric_out(_number(name, value)) for name, value in metrics.items()},
            seconds=time.monotonic() - self._began,
            corrupt=self._corrupt,
            setup_s=self._setup_s if self._reported == 0 else None,
        )
        try:
            reply = self._leases.report(self._study_id, self.number, body)
        except LeaseLost:
            self.state = "lost"
            raise
        self._reported, self._corrupt, self._began = epoch, [], time.monotonic()
        match reply.decision:
            case "pause":
                self._end("paused", TrialPaused(f"trial {self.number} is paused at epoch {epoch}"))
            case "stop":
                self._end("stopped", TrialStopped(f"trial {self.number} was stopped at epoch {epoch}"))
            case "complete":
                self.state = "complete"
        if self.state == "held" and self._asked == "pause":
            self._leases.release(self._study_id, self.number, ReleaseIn(lease=self._lease))
            self._end("paused", TrialPaused(f"trial {self.number} was handed back after epoch {epoch}: study paused"))

    def checkpoint(self, state: bytes | str | os.PathLike[str]) -> ArtifactRead:
        """Store what the trial needs to go on after the epoch in work: bytes, or a file by its path.

        Call it before ``report``: a trial that is paused at that epoch goes on from it. Raises LeaseLost, and
        RuntimeError before the first epoch.
        """
        self._check_held()
        step = self._current or self._reported
        if step == 0:
            raise RuntimeError("there is nothing to keep before the first epoch of epochs()")
        content = state if isinstance(state, bytes) else Path(state)
        return self._trials.upload(self._study_id, self.number, step, content, lease=self._lease)

    def restore(self) -> bytes | None:
        """The newest checkpoint whose bytes are whole, from which ``epochs`` goes on; None in a new trial.

        A checkpoint that is damaged is told to the server and passed over.
        """
        for checkpoint in self._assignment.checkpoints:
            content = self._fetch(checkpoint)
            if content is not None:
                self._restored = checkpoint.step
                return content
        return None

    def _fetch(self, checkpoint: CheckpointRef) -> bytes | None:
        name = f"step-{checkpoint.step}.safetensors"
        try:
            content = self._trials.artifact(self._study_id, checkpoint.trial, name)
        except NotFoundError:  # collected meanwhile
            return None
        if hashlib.sha256(content).hexdigest() != checkpoint.sha256:
            self._corrupt.append(checkpoint.id)
            return None
        return content

    @property
    def _lease(self) -> UUID:
        return self._assignment.lease.token

    @property
    def _study_id(self) -> str:
        return str(self._assignment.study_id)

    def _check_held(self) -> None:
        if self.state == "lost":
            raise LeaseLost(f"the lease of trial {self.number} is lost: drop its work", status=409, code="lease_lost")
        if self.state != "held":
            raise RuntimeError(f"trial {self.number} is {self.state}: nothing more is wanted of it")

    def _end(self, state: Literal["paused", "stopped"], reason: TrialEnded) -> None:
        self.state = state
        raise reason

    def _beat(self) -> None:
        while not self._quit.wait(self._assignment.lease.ttl_s / BEATS):
            try:
                self._asked = self._leases.heartbeat(self._study_id, self.number, self._lease).stop
            except LeaseLost:
                if self.state == "held":
                    self.state = "lost"
                return
            except ApiError:
                # An API that is away for a while costs nothing as long as the lease lasts; the next report meets
                # whatever lasts longer.
                continue

    def __enter__(self) -> Self:
        self._beats.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        self._quit.set()
        self._beats.join()
        if self.state != "held":
            return isinstance(error, TrialEnded) and self.state in ("paused", "stopped")
        if error is None:
            self._complete()
            return False
        try:
            if isinstance(error, Exception):
                self._fail(f"{type(error).__name__}: {error}", traceback.format_exception(error))
            else:
                self._leases.release(self._study_id, self.number, ReleaseIn(lease=self._lease))
                self.state = "released"
        except ApiError as refused:
            error.add_note(f"the API could not be told how trial {self.number} ended: {refused}")
        return False

    def _complete(self) -> None:
        """The block was left by itself: with the last epoch, or by a break, which ends the trial as it is."""
        if self._reported == 0:
            self._fail("its training ended without a report", [])
            return
        self._leases.tell(self._study_id, self.number, TellIn(lease=self._lease, state="complete"))
        self.state = "complete"

    def _fail(self, message: str, trace: list[str]) -> None:
        told = ErrorIn(type=EndClass.USER_ERROR, message=message[:MAX_TEXT], traceback="".join(trace)[-MAX_TRACEBACK:])
        self._leases.tell(self._study_id, self.number, TellIn(lease=self._lease, state="failed", error=told))
        self.state = "failed"


def _number(name: str, value: Any) -> float:
    """Raises TypeError for what is no number; a tensor or array of one element is one."""
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        raise TypeError(f"a metric is a number, got {name}={value!r}")
    return float(plain)
