"""Claim, run, claim again, until nothing is left: one doorbell drains a backlog. Knows no Celery."""

import queue
import time
from threading import Event, Lock
from typing import Protocol
from uuid import uuid4

import structlog

from api.schemas.leases import Assignment, ClaimIn, ClaimOut, ReleaseIn
from ladder.errors import ApiError
from workers.child import Child
from workers.events import Woken
from workers.held import Leases, may_pass
from workers.limits import Draining, Limits, Place
from workers.log_sender import LogApi, LogSender
from workers.pool import ChildPool, TrainerBroken
from workers.room import POLL_S
from workers.trial import TrialRun

log = structlog.get_logger(__name__)

_UNWELL_AFTER = 3  # runs in a row that failed by no fault of their trials
_LONGEST_REST_S = 60.0


class WorkerApi(Leases, LogApi, Protocol):
    """What a worker needs of the API: ``ladder.client.Client.leases``."""

    def claim(self, body: ClaimIn) -> ClaimOut: ...


class Runner:
    """Trains the trials of a queue in the children of ``pool``, one at a time, as the worker called ``worker``.

    ``drain`` may be called from several threads, they take turns; ``stop`` from any but a signal handler.
    """

    def __init__(self, api: WorkerApi, pool: ChildPool, *, worker: str, place: Place, limits: Limits) -> None:
        self._api = api
        self._pool = pool
        self._worker = worker
        self._place = place
        self._limits = limits
        self._logs = LogSender(api, every_s=limits.heartbeat_s)
        self._draining = Draining()
        self._stopped = Event()
        self._turn = Lock()
        self._wake: queue.SimpleQueue[object] | None = None  # the inbox of the child that is training
        self._claim_id = uuid4()
        self._unwell = 0
        self._idle_since: float | None = None  # monotonic; of the first look in vain since there last was a trial

    @property
    def busy(self) -> bool:
        return self._turn.locked()

    @property
    def idle_s(self) -> float:
        """For how long every look for a trial was in vain; 0 while there is one, or before there was a look.

        Without an answer of the API, and with another slot alone on the device, nothing was looked for.
        """
        since = self._idle_since
        return 0.0 if since is None else time.monotonic() - since

    def drain(self, queue_name: str) -> None:
        """Run trials of the queue until there is none, or until ``stop``."""
        with self._turn:
            try:
                while self._draining.since is None and self._run_next(queue_name):
                    pass
            finally:
                if self._idle_since is None:
                    self._idle_since = time.monotonic()
                # A trainer that is kept for the next trial may hold memory, and then stays in the room.
                if not self._pool.warm:
                    self._place.room.leave()

    def make_room(self) -> None:
        """If this slot is idle, give up what its trainer holds of the device: another slot wants to be alone there."""
        if self._turn.acquire(blocking=False):
            try:
                self._clear_room()
            finally:
                self._turn.release()

    def stop(self) -> None:
        """Claim nothing more; a trial that runs ends its epoch, saves, and is handed back."""
        if self._draining.since is None:
            self._draining.since = time.monotonic()
            self._stopped.set()
            self._pool.cancel()
            log.info("draining")
        wake = self._wake
        if wake is not None:
            wake.put(Woken())

    def stop_if_idle(self, max_idle_s: float) -> bool:
        """Stop if there has been no trial for that long; whether it did. Waits for a trial that runs.

        In turn with ``drain``, so that it never comes between a claim and its run.
        """
        with self._turn:
            idle_s = self.idle_s
            if self._draining.since is not None or idle_s < max_idle_s:
                return False
            log.info("idle", worker=self._worker, idle_s=round(idle_s, 3), max_idle_s=max_idle_s)
            self.stop()
            return True

    def finish_logs(self, within_s: float) -> None:
        """Wait until what ended runs have printed is sent, for at most ``within_s``."""
        self._logs.finish(within_s)

    def _run_next(self, queue_name: str) -> bool:
        """Claim a trial and run it; False where there was none, or nothing to run it with."""
        try:
            child = self._ready_child()  # before the claim: a trial is only taken by who may and can train it
        except TrainerBroken as error:
            log.error("trainer_broken", detail=str(error))
            return False
        if child is None:
            return False
        trial = self._claim(queue_name)
        if trial is None:
            return False
        claimed_at, self._idle_since = time.monotonic(), None
        if trial.alone and self._place.room.shared:
            child = self._unused_child(trial)
            if child is None:
                return False
        book = self._logs.open(trial)
        book.note(f"attempt {trial.attempt}: claimed by worker {self._worker}")
        run = TrialRun(
            self._api,
            child,
            trial,
            book=book,
            place=self._place,
            limits=self._limits,
            draining=self._draining,
            claimed_at=claimed_at,
        )
        self._wake = child.inbox
        try:
            ended = run.run()
        finally:
            self._wake = None
            self._logs.close(book)
            if trial.alone:
                self._clear_room()  # what needed so much is not kept either
        if not ended.keep_child:
            self._pool.discard(child)
            if self._place.room.shared:
                child.wait()  # until its memory is free
                self._place.room.leave()  # the next trainer may have to be imported first
        self._place.stats.ended(ended.how)
        self._rest_if_unwell(ended.how)
        return True

    def _ready_child(self) -> Child | None:
        """A trainer, on a device that no other slot has, or wants, to itself; None if stopped meanwhile."""
        while (child := self._pool.acquire()) is not None:
            if self._place.room.enter():
                return child
            self._idle_since = None  # it may not look
            self._clear_room()
            self._stopped.wait(POLL_S)
        return None

    def _unused_child(self, trial: Assignment) -> Child | None:
        """A trainer that holds no memory of the device yet; None where there is none and the trial is handed back.

        The one that was ready may keep what its last trial left, for as long as this one waits and while it trains.
        """
        self._clear_room()
        child, why = None, "stopped"
        try:
            child = self._pool.acquire()
        except TrainerBroken as error:
            why = str(error)
        if child is None:
            log.warning("no_trainer_to_be_alone", study=trial.study, number=trial.number, why=why)
            try:
                self._api.release(str(trial.study_id), trial.number, ReleaseIn(lease=trial.lease.token))
            except ApiError as error:
                log.warning("release_refused", detail=error.detail)  # its lease ends by itself
        return child

    def _clear_room(self) -> None:
        """Keep nothing of the device's memory. A trainer that has not trained yet has none."""
        if self._pool.warm:
            self._pool.drop()
        self._place.room.leave()

    def _claim(self, queue_name: str) -> Assignment | None:
        """The next trial. While the API does not answer, asks again: it may have given the trial to this claim id."""
        while self._draining.since is None:
            try:
                answer = self._api.claim(ClaimIn(worker=self._worker, queue=queue_name, claim_id=self._claim_id))
            except ApiError as error:
                if not may_pass(error):
                    log.error("claim_refused", status=error.status, code=error.code, detail=str(error))
                    return None
                log.warning("claim_unanswered", detail=error.detail)
                self._idle_since = None  # there may be work, and it may even be this worker's
                self._stopped.wait(self._limits.retry_s)
            else:
                self._claim_id = uuid4()
                return answer.trial
        return None

    def _rest_if_unwell(self, how: str) -> None:
        """A full disk or a broken device must not burn through the queue: wait longer after every such failure."""
        self._unwell = self._unwell + 1 if how == "infra" else 0
        if self._unwell >= _UNWELL_AFTER:
            rest_s = min(_LONGEST_REST_S, 5.0 * 2 ** (self._unwell - _UNWELL_AFTER))
            log.error("unwell", failures_in_a_row=self._unwell, rest_s=rest_s)
            self._stopped.wait(rest_s)
