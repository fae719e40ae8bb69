"""From the event log to what samplers see: the history of a study as of an event."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hpo.domain.events import Event, EventType
from hpo.domain.history import TrialRecord
from hpo.domain.trial import EndClass, TrialState

_STATES = {
    EventType.TRIAL_PAUSED: TrialState.PAUSED,
    EventType.TRIAL_PROMOTED: TrialState.QUEUED,
    EventType.TRIAL_REQUEUED: TrialState.QUEUED,
}


class HistoryFold:
    """The trials of a study, by number, grown one event at a time."""

    def __init__(self) -> None:
        self._records: list[TrialRecord] = []

    def apply(self, event: Event) -> None:
        """Raises IndexError if a trial's event comes before its creation."""
        if event.type is EventType.TRIAL_CREATED:
            assert event.trial == len(self._records)
            self._records.append(TrialRecord(event.trial, event.data["params"], TrialState.QUEUED))
        elif event.trial is not None:
            self._records[event.trial] = after(self._records[event.trial], event)

    def before(self, number: int) -> Sequence[TrialRecord]:
        """Trials created before ``number``, by number."""
        return self._records[:number]


def after(record: TrialRecord, event: Event) -> TrialRecord:
    """The record once an event of its trial has happened."""
    data: dict[str, Any] = event.data
    changes: dict[str, Any] = {}
    if "loss" in data and ("decision" in data or "counts_at" in data):
        # Whoever ended of its own accord is compared at the rung it was due at: it would be the same there.
        resource = data.get("counts_at", data["step"])
        changes["losses"] = (*record.losses, (resource, data["loss"]))
        changes["vector"] = tuple(data.get("vector", ()))
        changes["violation"] = data.get("violation", 0.0)
    if "seconds" in data:
        changes["seconds"] = record.seconds + data["seconds"]
    if event.type is EventType.TRIAL_FINISHED:
        changes["state"] = TrialState(data["state"])
        changes["diverged"] = data["end_class"] == EndClass.DIVERGED
    elif event.type is EventType.TRIAL_REOPENED:
        changes["state"] = TrialState(data["state"])
    elif event.type in _STATES:
        changes["state"] = _STATES[event.type]
        if "params" in data:  # a member of a population that goes on from another
            changes["params"] = data["params"]
    return replace(record, **changes) if changes else record
