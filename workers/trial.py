"""The run of one assignment: the child trains, its epochs are reported, and the decisions that come back are obeyed."""

import queue
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import structlog

from api.schemas.leases import Assignment, CheckpointRef, ReportOut, TellIn
from ladder.errors import ApiError, LeaseLost, NotFoundError
from workers.child import Child, Gone
from workers.events import Asked, Ended, Lost
from workers.failures import failure, of_failed, of_gone, oom_kills
from workers.heartbeat import StopRequest
from workers.held import HeldLease, Leases, may_pass
from workers.limits import Draining, Limits, Place
from workers.logbook import Logbook
from workers.outbox import BATCH, Outbox
from workers.pace import Pace
from workers.protocol import Batch, Drop, Epoch, Failed, Finished, Go, Park, Parked, Progress
from workers.resume import candidates, order
from workers.room import POLL_S

OVER = ("parked", "finished")  # the child has ended the run by itself: it waits for the next trial


class TrialRun:
    """Trains one assignment in ``child``. ``claimed_at`` is the monotonic time of the claim's answer.

    One loop on one thread: it sleeps on the child's inbox, which the heartbeat and the worker's stop also write to.
    """

    def __init__(
        self,
        api: Leases,
        child: Child,
        trial: Assignment,
        *,
        book: Logbook,
        place: Place,
        limits: Limits,
        draining: Draining,
        claimed_at: float,
    ) -> None:
        self._book = book
        self._child, self._trial, self._place, self._limits, self._draining = child, trial, place, limits, draining
        self._claimed_at = claimed_at
        self._log = structlog.get_logger(__name__).bind(
            study=trial.study, number=trial.number, attempt=trial.attempt, child=child.pid
        )
        self._held = HeldLease(api, trial, heartbeat_s=limits.heartbeat_s, on_stop=self._on_stop, on_lost=self._on_lost)
        self._outbox = Outbox(trial.lease.token)
        self._candidates = candidates(trial, place)
        self._resumed: CheckpointRef | None = None
        self._run = child.runs
        self._target, self._step = trial.target_step, 0
        self._child_is: Literal["working", "frozen", "waiting", "parked", "finished"] = "working"
        self._parking = False
        self._cut_off = False  # the last report got no answer
        self._flush_at = 0.0
        self._pace = Pace(limits, claimed_at, trial.timeout_s)
        self._oom_kills = oom_kills()
        self._ended: Ended | None = None

    def run(self) -> Ended:
        """Train until the lease has ended, one way or another."""
        self._child.printed_to(self._book.add)
        try:
            ended = self._run_until_ended()
        finally:
            self._child.printed_to(None)
        self._log.info("trial_ended", how=ended.how, step=self._step)
        self._book.note(f"ended: {ended.how}, at step {self._step}")
        return ended

    def _run_until_ended(self) -> Ended:
        with self._held.beating:
            if self._trial.alone:
                self._wait_until_alone()
            if self._ended is None and self._draining.since is None:
                self._start()
            elif self._ended is None:
                self._hand_back("drained", keep_child=True)
            while self._ended is None:
                self._take(self._receive())
                if self._ended is None:
                    self._look_around()
        return self._ended

    # -- the beginning and the events

    def _wait_until_alone(self) -> None:
        """Hold the lease until nothing else trains on the device, or until it is lost or to be handed back."""
        self._child.runs += 1  # what was said or asked about the run before is not about this one
        self._run = self._child.runs
        self._log.info("waits_to_be_alone")
        self._book.note("it ran out of memory before: waits until nothing else trains on the device")
        while self._ended is None and self._draining.since is None and not self._place.room.take():
            match self._receive_within(POLL_S):
                case Asked(run=self._run, request=request):
                    self._hand_back(request, keep_child=True)
                case Lost(run=self._run):
                    self._end("lease_lost")
                case Gone() as gone:
                    self._take(gone)
            if self._ended is None and self._held.silent_s >= self._limits.isolation_s:
                self._end("isolated")
        self._pace = Pace(self._limits, time.monotonic(), self._trial.timeout_s)  # waiting was no stall

    def _start(self) -> None:
        """Give the child the trial, from the newest checkpoint that is what was reported, else from nothing."""
        trial, store, resume = self._trial, self._place.store, None
        self._resumed, self._step = None, 0
        for ref, path in self._candidates:
            if path is not None:
                self._resumed, self._step, resume = ref, ref.step, path
                break
            self._disown(ref)
        self._child.runs += 1
        self._run = self._child.runs
        try:
            directory = store.prepare(trial.study_id, trial.number, trial.lease.token)
            told = order(trial, self._place, directory, run=self._run, resumed=self._resumed, resume=resume)
            self._child.send(told)
            store.settle(directory)  # while the child sets up; before any checkpoint in it is reported
        except OSError as error:
            self._fail("infra", f"cannot write to the checkpoint store {store.root}: {error}")
        else:
            self._log.info("trial_started", from_step=self._step, target_step=self._target)
            begun = "from nothing" if self._resumed is None else f"from the checkpoint of step {self._step}"
            self._book.note(f"trains {begun} to step {self._target}")

    def _disown(self, ref: CheckpointRef) -> None:
        self._log.warning("checkpoint_corrupt", step=ref.step, id=str(ref.id))
        self._book.note(f"the checkpoint of step {ref.step} is not what was reported: not used")
        self._outbox.notes = replace(self._outbox.notes, corrupt=(*self._outbox.notes.corrupt, ref.id))

    def _receive(self) -> object:
        # At least a moment: a time that has passed, and that nothing can be done about, must not make the loop spin.
        return self._receive_within(max(0.005, self._next_at() - time.monotonic()))

    def _receive_within(self, timeout_s: float) -> object:
        try:
            return self._child.inbox.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _take(self, message: object) -> None:
        match message:
            case Progress(run=self._run):
                self._pace.progress(time.monotonic(), message.done, message.total)
            case Batch(run=self._run):
                self._on_batch(message)
            case Epoch(run=self._run):
                self._on_epoch(message)
            case Finished(run=self._run) | Parked(run=self._run):
                self._child_is = "parked" if isinstance(message, Parked) else "finished"
                self._flush_soon()
            case Failed(run=self._run):
                self._on_failed(message)
            case Gone():
                told = of_gone(self._trial.lease.token, message, out_of_memory=oom_kills() > self._oom_kills)
                self._book.note(told.error.message if told.error else "the trainer is gone")
                self._close(told.error.type if told.error else "gone", lambda: self._held.tell(told))
            case Asked(run=self._run, request="pause"):
                self._park()
            case Asked(run=self._run, request=request):
                self._book.note(f"asked to {request}")
                self._hand_back(request)
            case Lost(run=self._run):
                self._end("lease_lost")

    def _on_batch(self, batch: Batch) -> None:
        self._pace.progress_at = time.monotonic()
        self._outbox.notes = replace(
            self._outbox.notes,
            setup_s=self._pace.progress_at - self._claimed_at,
            split_sha256=batch.split_sha256,
            class_names=tuple(batch.class_names),
        )

    def _on_epoch(self, epoch: Epoch) -> None:
        if epoch.step != self._step + 1 or self._child_is in ("waiting", *OVER):
            self._fail("user_error", f"the trainer spoke of step {epoch.step} when step {self._step + 1} was due")
            return
        self._step = epoch.step
        self._pace.epoch(time.monotonic(), epoch.seconds)
        self._place.stats.epoch(epoch.metrics)
        if not self._outbox:
            self._flush_at = self._pace.progress_at + self._limits.report_every_s
        self._outbox.add(epoch)
        if epoch.finished:
            self._child_is = "finished"
        elif epoch.waits:
            self._child_is = "waiting"
        elif self._outbox.full and self._child_is == "working":
            self._log.warning("outbox_full", step=self._step)
            self._book.note(f"the API does not answer: training waits after step {self._step}")
            self._child_is = "frozen"
            self._child.freeze()
        if epoch.finished or epoch.waits or len(self._outbox) >= BATCH:
            self._flush_soon()

    def _on_failed(self, failed: Failed) -> None:
        if failed.kind == "corrupt" and self._resumed is not None:
            self._disown(self._resumed)
            self._start()
            return
        self._book.note(f"{failed.kind}: {failed.message}")
        told = of_failed(self._trial.lease.token, failed)
        self._close(failed.kind, lambda: self._held.tell(told), keep_child=not failed.soiled)

    # -- the clock

    def _look_around(self) -> None:
        now = time.monotonic()
        if self._draining.since is not None:
            self._park()
        if now >= self._drain_until():
            self._hand_back("drained")
        elif self._child_is == "working" and now >= self._pace.stalled_at:
            limit = "" if self._trial.timeout_s is None else f"; its time limit is {self._trial.timeout_s:g} s"
            self._fail("stalled", f"no progress since step {self._step}{limit}")
        elif self._held.silent_s >= self._limits.isolation_s:
            self._end("isolated")
        elif now >= self._flush_at:
            self._flush()
            if self._ended is None and self._child_is == "parked" and not self._outbox:
                self._hand_back("drained" if self._draining.since else "paused", keep_child=True)
            elif self._ended is None and self._child_is == "finished" and not self._outbox:
                # No decision has ended it: it completes where it is.
                told = TellIn(lease=self._trial.lease.token, state="complete")
                self._close("finished", lambda: self._held.tell(told), keep_child=True)

    def _next_at(self) -> float:
        """When something is due that no message announces."""
        due = [self._held.heard_at + self._limits.isolation_s, self._drain_until()]
        if self._outbox or self._child_is in OVER:
            due.append(self._flush_at)
        if self._child_is == "working":
            due.append(self._pace.stalled_at)
        return min(due)

    def _drain_until(self) -> float:
        return float("inf") if self._draining.since is None else self._draining.since + self._limits.drain_s

    # -- asked from outside; the first two run on the heartbeat's thread

    def _on_stop(self, request: StopRequest) -> None:
        self._child.inbox.put(Asked(self._run, request))

    def _on_lost(self) -> None:
        self._child.kill()  # at once, whatever the loop is busy with: the trial is somebody else's
        self._child.inbox.put(Lost(self._run))

    def _park(self) -> None:
        if not self._parking:
            self._parking = True
            why = "the study is paused" if self._draining.since is None else "the worker stops"
            self._book.note(f"{why}: ends after this epoch, with a checkpoint")
            self._child.send(Park(run=self._run))

    # -- speaking to the API

    def _flush_soon(self) -> None:
        if not self._cut_off:
            self._flush_at = 0.0

    def _flush(self) -> None:
        """Report all there is; what gets no answer stays for the next time."""
        while self._ended is None and (batch := self._outbox.batch()) is not None:
            try:
                answer = self._held.report(batch)
            except (LeaseLost, NotFoundError) as error:
                self._log.warning("lease_lost", at="report", detail=error.detail)
                self._end("lease_lost")
            except ApiError as error:
                if may_pass(error):
                    self._cut_off, self._flush_at = True, time.monotonic() + self._limits.retry_s
                    return
                self._log.error("report_refused", status=error.status, code=error.code, detail=str(error))
                self._outbox.clear()
                self._fail("user_error", f"the report of step {batch.step} was refused: {error}")
            else:
                self._cut_off = False
                self._outbox.sent(batch)
                if self._child_is == "frozen":
                    self._child_is, self._pace.progress_at = "working", time.monotonic()
                    self._child.thaw()
                if answer is not None:
                    self._obey(answer, batch.step)
        self._flush_at = float("inf") if self._child_is not in OVER else self._flush_at

    def _obey(self, answer: ReportOut, step: int) -> None:
        if answer.decision != "continue" or answer.target_step not in (None, self._target):
            goal = f" to step {answer.target_step}" if answer.decision == "continue" else ""
            self._book.note(f"step {step}: {answer.decision}{goal}")
        if answer.decision != "continue":
            self._child.send(Drop(run=self._run))
            self._end(answer.decision, keep_child=self._child_is != "working" or not self._pace.slow)
            return
        target = answer.target_step or self._target
        waiting = self._child_is == "waiting" and step == self._step
        if waiting and self._parking:
            return  # the child has read Park where it waited: it says Parked next
        if waiting or (target != self._target and self._child_is not in OVER):
            self._child.send(Go(run=self._run, target_step=target))
        if waiting:
            self._child_is, self._pace.progress_at = "working", time.monotonic()
        self._target = target

    # -- the end

    def _end(self, how: str, *, keep_child: bool = False) -> None:
        if not keep_child:
            self._child.kill()
        self._ended = Ended(how, keep_child)

    def _fail(self, kind: str, message: str) -> None:
        """The child is of no more use and its trial has failed."""
        self._book.note(f"{kind}: {message}")
        self._child.kill()
        told = failure(self._trial.lease.token, kind, message, traceback=self._child.stderr_tail)
        self._close(kind, lambda: self._held.tell(told))

    def _hand_back(self, how: str, *, keep_child: bool = False) -> None:
        """Release the trial; the server knows whether it is queued, paused, stopped or cancelled then."""
        if not keep_child:
            self._child.kill()
        self._close(how, lambda: self._held.release(self._outbox.release()), keep_child=keep_child)

    def _close(self, how: str, call: Callable[[], None], *, keep_child: bool = False) -> None:
        """Report what is left, then say how it ended, again and again while the API cannot be reached."""
        while self._ended is None:
            self._flush()
            if self._ended is None and not self._outbox:
                try:
                    call()
                    self._end(how, keep_child=keep_child)
                except ApiError as error:
                    if not may_pass(error):
                        # Whoever holds the trial now, or the sweep, decides about it.
                        self._log.warning("end_refused", how=how, status=error.status, detail=str(error))
                        self._end(how, keep_child=keep_child)
            if self._ended is None and (
                time.monotonic() >= self._drain_until() or self._held.silent_s >= self._limits.isolation_s
            ):
                self._end("isolated")
            if self._ended is None:
                self._wait_for_api()

    def _wait_for_api(self) -> None:
        try:
            message = self._child.inbox.get(timeout=self._limits.retry_s)
        except queue.Empty:
            return
        if isinstance(message, Lost) and message.run == self._run:
            self._end("lease_lost")
