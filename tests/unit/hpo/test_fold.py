from typing import Any

import pytest

from hpo.domain.events import Event, EventType
from hpo.domain.fold import HistoryFold
from hpo.domain.history import TrialRecord
from hpo.domain.trial import TrialState


def folded(*facts: tuple[EventType, dict[str, Any]]) -> TrialRecord:
    """A trial with params x = 1, after the facts."""
    fold = HistoryFold()
    fold.apply(Event(1, EventType.TRIAL_CREATED, 0, {"params": {"x": 1}, "cursor": 0, "bracket": 0}))
    for seq, (kind, data) in enumerate(facts, start=2):
        fold.apply(Event(seq, kind, 0, data))
    return fold.before(1)[0]


def decided(step: int, loss: float, decision: str = "continue", **data: Any) -> dict[str, Any]:
    return {"step": step, "loss": loss, "decision": decision, "target": None, "bracket": 0, "rung": 0} | data


def test_a_new_trial_is_queued_with_its_params() -> None:
    assert folded() == TrialRecord(0, {"x": 1}, TrialState.QUEUED)


def test_losses_are_those_that_were_decided_on() -> None:
    report = (EventType.TRIAL_REPORTED, {"step": 2, "loss": 0.8, "seconds": 3.0})  # between two stops
    record = folded(
        (EventType.TRIAL_STARTED, {"worker": "w"}),
        (EventType.TRIAL_REPORTED, decided(1, 0.9, seconds=2.0)),
        report,
        (EventType.TRIAL_PAUSED, decided(3, 0.7, "pause", seconds=4.0)),
    )
    assert record.losses == ((1, 0.9), (3, 0.7))
    assert record.seconds == 9.0
    assert (record.state, record.loss) == (TrialState.PAUSED, 0.7)


def test_vector_and_violation_are_those_of_the_newest_stop() -> None:
    record = folded(
        (EventType.TRIAL_REPORTED, decided(1, 0.9, vector=[0.9, 5.0], violation=0.5)),
        (EventType.TRIAL_PAUSED, decided(3, 0.7, "pause", vector=[0.7, 4.0])),
    )
    assert (record.vector, record.violation, record.feasible) == ((0.7, 4.0), 0.0, True)


def test_a_trial_that_diverged_ranks_below_all_and_keeps_its_rungs() -> None:
    record = folded(
        (EventType.TRIAL_REPORTED, decided(1, 0.9)),
        (EventType.TRIAL_FINISHED, {"step": 2, "state": "pruned", "end_class": "diverged", "dropped_at": 1}),
    )
    assert record.diverged
    assert record.losses == ((1, 0.9),)
    assert record.loss == float("inf")


@pytest.mark.parametrize(
    ("kind", "data", "state"),
    [
        (EventType.TRIAL_PROMOTED, {"bracket": 0, "rung": 0, "target": 3}, TrialState.QUEUED),
        (EventType.TRIAL_REQUEUED, {"state": "queued", "end_class": "infra", "step": 0}, TrialState.QUEUED),
        (EventType.TRIAL_FINISHED, {"state": "failed", "end_class": "user_error"}, TrialState.FAILED),
        (EventType.TRIAL_FINISHED, {"state": "cancelled", "end_class": "cancelled"}, TrialState.CANCELLED),
    ],
)
def test_the_state_follows_the_events(kind: EventType, data: dict[str, Any], state: TrialState) -> None:
    record = folded((EventType.TRIAL_PAUSED, decided(1, 0.9, "pause")), (kind, data))
    assert (record.state, record.diverged) == (state, False)


def test_a_member_of_a_population_goes_on_with_other_params() -> None:
    promotion = {"bracket": 0, "rung": 0, "target": 3, "source": 4, "params": {"x": 2}}
    assert folded((EventType.TRIAL_PROMOTED, promotion)).params == {"x": 2}


def test_a_study_is_its_trials_by_number() -> None:
    fold = HistoryFold()
    fold.apply(Event(1, EventType.STUDY_UPDATED, None, {"state": "running"}))
    for number in range(3):
        fold.apply(Event(number + 2, EventType.TRIAL_CREATED, number, {"params": {"x": number}}))
    before = fold.before(2)
    fold.apply(Event(5, EventType.TRIAL_FINISHED, 0, {"state": "failed", "end_class": "oom"}))
    assert [record.params["x"] for record in before] == [0, 1]
    assert before[0].state is TrialState.QUEUED  # what was handed out does not change
    assert fold.before(1)[0].state is TrialState.FAILED


def test_an_event_before_its_trial_is_refused() -> None:
    with pytest.raises(IndexError):
        HistoryFold().apply(Event(1, EventType.TRIAL_STARTED, 0, {"decision": "stop"}))


def test_a_trial_that_ended_of_its_own_accord_counts_at_the_rung_it_was_due_at() -> None:
    end = {"step": 5, "loss": 0.6, "counts_at": 9, "violation": 0.5, "state": "complete", "end_class": "complete"}
    record = folded((EventType.TRIAL_REPORTED, decided(3, 0.7)), (EventType.TRIAL_FINISHED, end))
    assert record.losses == ((3, 0.7), (9, 0.6))
    assert (record.state, record.loss, record.violation) == (TrialState.COMPLETE, 0.6, 0.5)
