"""From the event log to what samplers see: the history of a study as of an event."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from hpo.domain.events import Event, EventType
from hpo.domain.history import Params, TrialRecord
from hpo.domain.trial import EndClass, TrialState

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
        self._records: list[TrialRecord] = []

    def sync(self, tx: Connection, study: UUID, cursor: int) -> None:
        """Bring the history to ``cursor``. Another process may be further: an older cursor changes nothing."""
        for event in events(tx, study, after=self.cursor, until=cursor):
            self._apply(event)
        self.cursor = max(self.cursor, cursor)

    def before(self, number: int) -> Sequence[TrialRecord]:
        """Trials created before ``number``, by number."""
        return self._records[:number]

    def _apply(self, event: Event) -> None:
        if event.type is EventType.TRIAL_CREATED:
            assert event.trial == len(self._records)
            self._records.append(created(event.trial, event.data["params"]))
        elif event.trial is not None:
            self._records[event.trial] = after(self._records[event.trial], event)


def created(number: int, params: Params) -> TrialRecord:
    return TrialRecord(number, params, TrialState.QUEUED)


_STATES = {
    EventType.TRIAL_PAUSED: TrialState.PAUSED,
    EventType.TRIAL_PROMOTED: TrialState.QUEUED,
    EventType.TRIAL_REQUEUED: TrialState.QUEUED,
}


def after(record: TrialRecord, event: Event) -> TrialRecord:
    """The record once an event of its trial has happened."""
    data: dict[str, Any] = event.data
    changes: dict[str, Any] = {}
    if "rung" in data and "loss" in data:
        changes["losses"] = (*record.losses, (data["step"], data["loss"]))
    if event.type is EventType.TRIAL_FINISHED:
        changes["state"] = TrialState(data["state"])
        changes["diverged"] = data["end_class"] == EndClass.DIVERGED
    elif event.type in _STATES:
        changes["state"] = _STATES[event.type]
    return replace(record, **changes) if changes else record
