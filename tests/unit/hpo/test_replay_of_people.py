"""What people did to trials is derived again, too, and a forgery of it is found."""

from dataclasses import replace
from typing import Any

import pytest

from hpo.domain.events import Event, EventType
from hpo.replay import Difference, replay
from tests.unit.hpo.builders import a_study

SPEC = a_study(scheduler={"type": "asha", "max_resource": 4, "reduction_factor": 2}, budget={"max_trials": 4})
X = {"x": 0.5}


def log(*events: tuple[EventType, int | None, dict[str, Any]]) -> list[Event]:
    return [Event(seq, kind, trial, data) for seq, (kind, trial, data) in enumerate(events, start=1)]


def at(rung: int, loss: float, decision: str, target: int | None = None) -> dict[str, Any]:
    step = (1, 2, 4)[rung]
    return {"step": step, "loss": loss, "bracket": 0, "rung": rung, "decision": decision, "target": target}


CREATED = {"params": X, "cursor": 0, "bracket": 0}
E = EventType
# Two come to the lowest rung, the second goes on and fails, and is retried; a third is stopped by hand; then the study
# ends, is extended, and goes on.
WHOLE = log(
    (E.STUDY_UPDATED, None, {"state": "running"}),
    *((E.TRIAL_CREATED, number, CREATED) for number in range(3)),
    (E.TRIAL_STARTED, 0, {"from": 0}),
    (E.TRIAL_PAUSED, 0, at(0, 0.5, "pause")),
    (E.TRIAL_STARTED, 1, {"from": 0}),
    (E.TRIAL_REPORTED, 1, at(0, 0.4, "continue", 2)),
    (E.TRIAL_FINISHED, 1, {"state": "failed", "end_class": "user_error", "step": 1, "dropped_at": 1}),
    (E.TRIAL_REQUEUED, 1, {"retried": True, "step": 1, "left": 1}),
    (E.TRIAL_FINISHED, 2, {"state": "cancelled", "end_class": "cancelled", "step": 0, "by": "user", "dropped_at": 0}),
    (E.TRIAL_STARTED, 1, {"from": 1}),
    (E.TRIAL_PAUSED, 1, at(1, 0.3, "pause")),
    (E.TRIAL_FINISHED, 0, {"state": "pruned", "end_class": "pruned"}),
    (E.TRIAL_FINISHED, 1, {"state": "pruned", "end_class": "pruned"}),
    (E.STUDY_UPDATED, None, {"state": "finished"}),
    (E.STUDY_UPDATED, None, {"state": "running", "extended": True}),
    (E.TRIAL_REOPENED, 0, {"state": "paused"}),
    (E.TRIAL_REOPENED, 1, {"state": "paused"}),
)


def difference(events: list[Event]) -> Difference | None:
    return replay(SPEC, events, suggestions=False).difference


def test_what_people_did_is_derived_again() -> None:
    found = replay(SPEC, WHOLE, suggestions=False)
    assert found.difference is None
    places = sorted((one.entry.trial, one.entry.rung) for one in found.entered)
    assert places == [(0, 0), (1, 0), (1, 1), (2, 0)]  # the failure of trial 1 is none any more


@pytest.mark.parametrize(
    ("seq", "changes"),
    [
        (10, {"left": 0}),
        (10, {"left": None}),
        (11, {"by": None}),
        (11, {"dropped_at": 1}),
        (18, {"state": "queued"}),
        (19, {"state": "complete"}),
    ],
)
def test_a_forgery_of_what_people_did_is_found(seq: int, changes: dict[str, Any]) -> None:
    forged = [
        replace(event, data={key: value for key, value in (event.data | changes).items() if value is not None})
        if event.seq == seq
        else event
        for event in WHOLE
    ]
    found = difference(forged)
    assert found is not None
    assert found.seq == seq


def test_only_what_ended_so_is_retried_or_opened_again() -> None:
    twice = [*WHOLE, Event(20, E.TRIAL_REOPENED, 1, {"state": "paused"})]
    assert (found := difference(twice)) is not None
    assert found.seq == 20
    paused = [*WHOLE, Event(20, E.TRIAL_REQUEUED, 1, {"retried": True, "step": 1})]
    assert (found := difference(paused)) is not None
    assert "paused" in found.recorded
