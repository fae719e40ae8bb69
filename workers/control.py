"""Control: moves studies on when rung for, and sweeps for what nobody rang for.

``advance`` and ``analyse`` come by Celery; the sweep runs in a thread of every control process (docs/adr/0006): what
takes back dead leases must not depend on the broker. Any number of control processes may run: the study's row
serialises them.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from uuid import UUID

import structlog
from celery import Celery
from sqlalchemy import Connection

from hpo.checkpoints.filesystem import FilesystemStore
from hpo.domain.errors import LadderError, NotFound
from hpo.doorbell import Doorbell
from hpo.lifecycle import advance, analyses, leases, purge, sweep
from hpo.lifecycle.advance import Progress, Room
from hpo.lifecycle.definitions import Definitions
from hpo.lifecycle.promotion import begin_stopping
from hpo.settings import Settings
from hpo.storage import checkpoints
from hpo.storage import leases as stored_leases
from hpo.storage.db import Db, make_engine
from hpo.storage.replay import HistoryCache
from workers.apart import Failed, apart

log = structlog.get_logger()

MAX_ASKED_AT_ONCE = 32  # then the results since are looked at before the next ones are sampled

PURGED_AT_ONCE = 20  # batches of a sweep


class Histories:
    """The histories of the studies that this process samples for, least recently used ones dropped."""

    def __init__(self, size: int = 64) -> None:
        self._size = size
        self._known: OrderedDict[UUID, HistoryCache] = OrderedDict()

    def get(self, study: UUID) -> HistoryCache:
        history = self._known.setdefault(study, HistoryCache())
        self._known.move_to_end(study)
        while len(self._known) > self._size:
            self._known.popitem(last=False)
        return history


class Control:
    """The long-lived parts of one control process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._db = Db(make_engine(settings, pool_size=4))
        self._doorbell = Doorbell(settings.redis_url.get_secret_value())
        self._store = FilesystemStore(settings.checkpoint_root.expanduser())
        self._live_s = 3 * settings.heartbeat_s
        self._definitions = Definitions()
        self._histories = Histories()
        self._sampling = threading.Lock()  # the sweep and the tasks share the histories
        self._ended = threading.Event()
        self._asked: SimpleQueue[UUID] = SimpleQueue()
        threading.Thread(target=self._answer, name="analyst", daemon=True).start()
        self._grace()

    def _grace(self) -> None:
        """Reap nothing for one lease: during an outage nobody could renew, and the whole fleet would look dead."""
        self._reap_after = time.monotonic() + self._settings.lease_ttl_s

    def advance(self, study: UUID) -> None:
        """Do all that the study needs now: promotions, new trials, its end. Samples with no transaction open."""
        with self._sampling:
            while not self._ended.is_set():
                due = self._db.write(lambda tx: advance.look(tx, self._definitions, study, live_s=self._live_s))
                if due is None:
                    return
                if isinstance(due, Progress):
                    if due.queue is not None:
                        self._doorbell.ring(due.queue)
                    if due.study is not None:
                        self._doorbell.ring_control(due.study)
                    continue
                self._sample(study, due)

    def _sample(self, study: UUID, room: Room) -> None:
        history = self._histories.get(study)
        self._db.read(lambda tx: history.sync(tx, study, room.cursor))
        asked = advance.propose(room, history, MAX_ASKED_AT_ONCE)
        added = self._db.write(lambda tx: advance.add_trials(tx, study, room, asked, live_s=self._live_s))
        if not added.value:
            log.info("samples-void", study=str(study), first=room.first)
        for queue in added.queues:
            self._doorbell.ring(queue)

    def sweep(self) -> None:
        """Take back dead leases, end overspent studies, move on those that stand still, ring again, collect, purge."""
        if time.monotonic() >= self._reap_after:
            self._reap()
        self._db.write(self._end_overspent)
        for study in self._db.read(sweep.restless):
            with suppress(NotFound):  # deleted since
                self.advance(study)
        for queue in self._db.write(self._unheard):
            self._doorbell.ring(queue)
        self._db.write(sweep.forget_old_keys)
        for study in self._db.read(analyses.unanswered):
            self.analyse(study)
        self._collect()
        self._purge()

    def _end_overspent(self, tx: Connection) -> None:
        """End studies in time for what runs to hear of it: at the next heartbeat after the next sweep."""
        for row in sweep.overspent(tx, margin_s=self._settings.sweep_s + 2 * self._settings.heartbeat_s):
            begin_stopping(tx, row.id, row.last_seq, row.reason)

    def _unheard(self, tx: Connection) -> Sequence[str]:
        return sweep.unheard(tx, again_s=self._settings.ring_again_s, live_s=self._live_s)

    def _reap(self) -> None:
        for row in self._db.read(stored_leases.expired):
            outcome = self._db.write(
                partial(
                    leases.reap,
                    definitions=self._definitions,
                    project=row.project_id,
                    study=row.study_id,
                    number=row.number,
                    lease=row.lease_id,
                    backoff_s=self._settings.retry_backoff_s,
                )
            )
            if outcome is not None:
                log.warning("lease-reaped", study=str(row.study_id), trial=row.number)
                for queue in outcome.queues:
                    self._doorbell.ring(queue)

    def _collect(self) -> None:
        rows = self._db.read(lambda tx: checkpoints.collectable(tx, age_s=self._settings.checkpoint_gc_age_s))
        # Marked first: a row that is still "ok" always has its bytes.
        if rows:
            self._db.write(lambda tx: checkpoints.mark_deleted(tx, [row.id for row in rows]))
        for row in rows:
            self._store.delete(row.study_id, row.number, row.lease_id, step=row.step)

    def _purge(self) -> None:
        """Remove some of what deleted studies hold: a sweep must not be late for dead leases because of it."""
        purge.purge(self._db, self._store, batches=PURGED_AT_ONCE, ended=self._ended.is_set)

    def analyse(self, study: UUID) -> None:
        """Have what was asked about a study computed: by a thread and a process of their own, since it takes seconds.

        An advance must not wait for it. Who finds nothing left to compute does no harm.
        """
        self._asked.put(study)

    def _answer(self) -> None:
        while True:
            study = self._asked.get()
            try:
                while self._answer_one(study):
                    pass
            except LadderError as error:
                log.warning("analysis-postponed", study=str(study), error=error.detail)
            except Exception:
                log.exception("analysis-broken", study=str(study))  # a defect; other studies still get their answers

    def _answer_one(self, study: UUID) -> bool:
        """Compute the next analysis that a study waits for; returns whether there was one."""
        work = self._db.write(lambda tx: analyses.take(tx, self._definitions, study))
        if work is None:
            return False
        try:
            found = apart(analyses.judging(work.definition, work.question, work.seen), timeout_s=analyses.COMPUTE_S)
        except Failed as failure:
            why = str(failure)
            log.warning("analysis-failed", study=str(study), error=why)
            self._db.write(lambda tx: analyses.give_up(tx, work, why))
        else:
            self._db.write(lambda tx: analyses.keep(tx, work, found))
        return True

    def sweep_until_ended(self) -> None:
        """Sweep every ``sweep_s`` seconds. An outage of Postgres is waited out: the next round tries again."""
        while not self._ended.is_set():
            try:
                self.sweep()
            except LadderError as error:
                log.warning("sweep-failed", error=error.detail)
                self._grace()
            self._ended.wait(self._settings.sweep_s)

    def end(self) -> None:
        self._ended.set()
        self._doorbell.close()


def register(app: Celery, settings: Settings) -> Control:
    """Add control's tasks to a Celery app; returns the parts, whose ``sweep_until_ended`` wants a thread."""
    control = Control(settings)

    @app.task(name="control.advance", ignore_result=True)
    def advance_study(study: str) -> None:
        """A doorbell: does whatever the study needs by now, so a lost or doubled message does no harm."""
        try:
            control.advance(UUID(study))
        except NotFound:
            log.info("study-gone", study=study)
        except LadderError as error:
            log.warning("advance-failed", study=study, error=error.detail)

    @app.task(name="control.analyse", ignore_result=True)
    def analyse_study(study: str) -> None:
        """A doorbell, too: computes whatever was asked about the study and is not answered."""
        control.analyse(UUID(study))

    return control
