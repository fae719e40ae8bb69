"""Reading the event log back, and the history of a study as of an event."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection

from hpo.domain.events import Event, EventType
from hpo.domain.fold import HistoryFold
from hpo.domain.history import TrialRecord

_EVENTS = """
SELECT seq, type, number, data FROM event
WHERE study_id = %(study)s AND seq > %(after)s AND seq <= %(until)s ORDER BY seq"""


def events(tx: Connection, study: UUID, *, after: int = 0, until: int = 2**62) -> list[Event]:
    """The study's events with ``after < seq <= until``, in order."""
    rows = tx.exec_driver_sql(_EVENTS, {"study": study, "after": after, "until": until})
    return [Event(row.seq, EventType(row.type), row.number, row.data) for row in rows]


class HistoryCache:
    """The history of one study, grown from its log by cursor: an ask costs one small query, not all trials."""

    def __init__(self) -> None:
        self.cursor = 0
        self._fold = HistoryFold()

    def sync(self, tx: Connection, study: UUID, cursor: int) -> None:
        """Bring the history to exactly ``cursor``, so that the answer can be derived again from the log alone."""
        if cursor < self.cursor:
            # Another control process was further and this one sampled for it: start over, which is rare.
            self.cursor, self._fold = 0, HistoryFold()
        for event in events(tx, study, after=self.cursor, until=cursor):
            self._fold.apply(event)
        self.cursor = cursor

    def before(self, number: int) -> Sequence[TrialRecord]:
        """Trials created before ``number``, by number."""
        return self._fold.before(number)
