"""Reports of one study take turns, and those that wait together share a transaction.

A rung's decision needs the study's row. Threads that queue for it inside Postgres hold a connection each and wake one
by one, with a commit between any two; here they wait in the process, and whoever has the turn brings all that have
come. Other processes are held off by the row lock as ever: this is for speed, the lock is for truth (docs/adr/0010).
"""

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import psycopg2
import structlog
from sqlalchemy import Connection

from hpo.domain.errors import LadderError
from hpo.domain.report import Answer, Report
from hpo.lifecycle.definitions import Definitions
from hpo.lifecycle.outcome import Outcome
from hpo.lifecycle.reports import Item, report, report_all
from hpo.storage.db import Db

log = structlog.get_logger()

MOST_TOGETHER = 16  # more would make the first of them wait for the last

Result = Outcome[Answer] | Exception


@dataclass(slots=True)
class _Ticket:
    item: Item
    called: threading.Event = field(default_factory=threading.Event)
    result: Result | None = None  # still None when called: it is this ticket's turn to lead


class Turns:
    """Accepts reports from many threads. One instance per process."""

    def __init__(self, db: Db, definitions: Definitions) -> None:
        self._db, self._definitions = db, definitions
        self._waiting: dict[tuple[UUID, UUID], list[_Ticket]] = defaultdict(list)
        self._busy: set[tuple[UUID, UUID]] = set()
        self._lock = threading.Lock()

    def report(self, project: UUID, study: UUID, number: int, body: Report) -> Outcome[Answer]:
        """Accept one report; raises what ``hpo.lifecycle.reports.report`` raises."""
        place, ticket = (project, study), _Ticket(Item(number, body))
        with self._lock:
            self._waiting[place].append(ticket)
            leads = place not in self._busy
            self._busy.add(place)
        if not leads:
            ticket.called.wait()
        if ticket.result is None:
            self._lead(place)
        assert ticket.result is not None
        if isinstance(ticket.result, Exception):
            raise ticket.result
        return ticket.result

    def _lead(self, place: tuple[UUID, UUID]) -> None:
        """Answer what has come, the leader's own ticket first among it, and call the next leader."""
        with self._lock:
            waiting = self._waiting[place]
            together, self._waiting[place] = waiting[:MOST_TOGETHER], waiting[MOST_TOGETHER:]
        try:
            results = self._answer(place, [ticket.item for ticket in together])
        except Exception as error:
            results = [error] * len(together)
        with self._lock:
            following = self._waiting[place][:1]
            if not following:
                del self._waiting[place]
                self._busy.discard(place)
        for ticket, result in zip(together, results, strict=True):
            ticket.result = result
            ticket.called.set()
        for ticket in following:
            ticket.called.set()

    def _answer(self, place: tuple[UUID, UUID], items: Sequence[Item]) -> Sequence[Result]:
        project, study = place
        if len(items) > 1:
            try:
                return self._db.write(lambda tx: report_all(tx, self._definitions, project, study, items))
            except psycopg2.Error as error:
                # The database refused one of them: each is tried by itself, and only that one fails.
                log.warning("reports-parted", study=str(study), reports=len(items), error=str(error).strip())
        return [self._alone(project, study, item) for item in items]

    def _alone(self, project: UUID, study: UUID, item: Item) -> Result:
        def work(tx: Connection) -> Outcome[Answer]:
            return report(tx, self._definitions, project, study, item.number, item.body)

        try:
            return self._db.write(work)
        except (LadderError, psycopg2.Error) as error:
            return error
