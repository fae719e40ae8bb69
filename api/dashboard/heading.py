"""The head that all pages of a study share: its state, what may be done to it, and how far it is."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from api.deps import Services
from api.schemas.studies import StudyRead
from api.views import study_read
from hpo.domain.study import STUDY_ENDED, StudyState
from hpo.storage import studies as stored
from hpo.storage.keys import Caller
from hpo.storage.study_facts import Facts, facts

_S = StudyState
# In the order of the buttons; cancel and delete are typed, extend and clone have forms of their own.
VERBS: dict[str, frozenset[StudyState]] = {
    "start": frozenset({_S.CREATED}),
    "pause": frozenset({_S.RUNNING}),
    "resume": frozenset({_S.PAUSED}),
    "stop": frozenset({_S.RUNNING, _S.PAUSED}),
    "cancel": frozenset({_S.CREATED, _S.RUNNING, _S.PAUSED, _S.STOPPING}),
    "extend": frozenset({_S.RUNNING, _S.PAUSED, _S.FINISHED}),
    "archive": STUDY_ENDED,
}


@dataclass(frozen=True, slots=True)
class Heading:
    """``last_seq`` is the newest event that the page knows of; ``ended``: no further one will come."""

    study: StudyRead
    row: Row[Any]
    facts: Facts
    ended: bool

    @property
    def last_seq(self) -> int:
        seq: int = self.row.last_seq
        return seq

    @property
    def archived_at(self) -> datetime | None:
        at: datetime | None = self.row.archived_at
        return at

    @property
    def verbs(self) -> list[str]:
        """What may be done to the study now."""
        if self.archived_at is not None:
            return ["unarchive"]
        return [verb for verb, states in VERBS.items() if self.study.state in states]

    @property
    def saved(self) -> float | None:
        """The share of epochs that stopping early has saved, over the trials that nobody trains now."""
        whole = self.facts.settled * self.study.scheduler.max_resource
        return 1 - self.facts.settled_steps / whole if whole else None

    @property
    def gain(self) -> float | None:
        """By how much the best value moved within an hour; None where that is not known, or it did not move."""
        best, before = self.study.best, self.facts.led_before
        moved = None if best is None or before is None else best.value - self.study.objective.value(before)
        return moved or None


def heading(tx: Connection, parts: Services, caller: Caller, ref: str) -> Heading:
    """The head of a study given by name or id, as this transaction sees it. Raises NotFound."""
    row = stored.get(tx, caller.project, ref)
    study = study_read(tx, row, live_s=parts.live_s)
    confirming = row.confirmation is not None and row.confirmation["state"] == "running"
    ended = study.state in STUDY_ENDED and not confirming and row.running + row.queued + row.paused == 0
    return Heading(study, row, facts(tx, row, max_wall_s=study.budget.max_wall_s), ended)
