"""Small logs by hand: what a replay derives from them, and the first thing that could not have happened."""

from typing import Any

import pytest

from hpo.domain.events import Event, EventType
from hpo.domain.merit import WORST, merit
from hpo.engine import Engine
from hpo.replay import Difference, replay
from hpo.schedulers.base import Action
from tests.unit.hpo.builders import a_study

SPEC = a_study(scheduler={"type": "asha", "max_resource": 9, "n_full": 1})
PARAMS = [Engine(SPEC).ask([], number) for number in range(4)]  # random search needs no history


def created(seq: int, trial: int, **data: Any) -> Event:
    params = {"params": PARAMS[trial % 4], "cursor": seq - 1, "bracket": 0}
    return Event(seq, EventType.TRIAL_CREATED, trial, params | data)


def started(seq: int, trial: int) -> Event:
    return Event(seq, EventType.TRIAL_STARTED, trial)


def promoted(seq: int, trial: int, rung: int, target: int) -> Event:
    return Event(seq, EventType.TRIAL_PROMOTED, trial, {"bracket": 0, "rung": rung, "target": target})


def decided(seq: int, trial: int, rung: int, loss: float, decision: str = "pause", **data: Any) -> Event:
    kind = {"pause": EventType.TRIAL_PAUSED, "continue": EventType.TRIAL_REPORTED}.get(
        decision, EventType.TRIAL_FINISHED
    )
    at = {"step": 3**rung, "loss": loss, "bracket": 0, "rung": rung, "decision": decision, "target": None}
    return Event(seq, kind, trial, at | data)


def ended(seq: int, trial: int, state: str = "cancelled", **data: Any) -> Event:
    return Event(seq, EventType.TRIAL_FINISHED, trial, {"state": state, "end_class": state} | data)


# Of three trials the second is best; the third's report makes it promotable.
EVENTS: tuple[Event, ...] = (
    created(1, 0),
    created(2, 1),
    created(3, 2),
    started(4, 0),
    started(5, 1),
    started(6, 2),
    decided(7, 0, 0, 0.5),
    decided(8, 1, 0, 0.3),
    decided(9, 2, 0, 0.4),
    created(10, 3),  # sampled ahead of need, although a promotion was due
    promoted(11, 1, 0, 3),
    started(12, 1),
    decided(13, 1, 1, 0.2),
    ended(14, 3),  # queued: it was due nowhere
    ended(15, 0, "pruned"),
)


def with_event(seq: int, event: Event | None) -> list[Event]:
    return [kept for old in EVENTS if (kept := event if old.seq == seq else old) is not None]


def test_a_true_record_has_no_difference() -> None:
    found = replay(SPEC, EVENTS)
    assert found.difference is None
    assert (found.decisions, found.promotions, found.suggestions) == (4, 1, 4)
    assert replay(SPEC, []).difference is None


def test_what_was_entered_is_told_with_its_merit() -> None:
    found = replay(SPEC, EVENTS, suggestions=False)
    assert found.suggestions == 0
    assert [(one.entry.seq, one.entry.trial, one.entry.rung, one.entry.loss) for one in found.entered] == [
        (7, 0, 0, 0.5), (8, 1, 0, 0.3), (9, 2, 0, 0.4), (13, 1, 1, 0.2),
    ]  # fmt: skip
    assert all(one.action is Action.PAUSE for one in found.entered)


def test_another_decision_is_told_with_what_it_should_have_been() -> None:
    forged = with_event(9, decided(9, 2, 0, 0.2))
    assert replay(SPEC, forged).difference == Difference(9, 2, expected="continue to 3", recorded="pause")


def test_a_wrong_target_is_a_difference() -> None:
    forged = with_event(9, decided(9, 2, 0, 0.2, "continue", target=9))
    assert replay(SPEC, forged).difference == Difference(9, 2, expected="continue to 3", recorded="continue to 9")


@pytest.mark.parametrize(
    ("seq", "event"),
    [
        (11, promoted(11, 2, 0, 3)),  # not the best that waits
        (11, promoted(11, 1, 0, 9)),  # a rung too far
        (9, promoted(9, 1, 0, 3)),  # too early: two entries make no third
        (8, decided(8, 1, 1, 0.3)),  # a rung left out
        (13, decided(13, 2, 1, 0.2)),  # paused, so it cannot report
        (13, decided(13, 1, 0, 0.2)),  # at that rung before
        (13, decided(13, 9, 0, 0.2)),  # never created
        (3, created(3, 1)),  # created before
        (3, created(2, 2)),  # seq does not rise
        (3, created(3, 2, bracket=1)),  # drawn for another bracket
        (3, created(3, 2, cursor=3)),  # nobody sees what is yet to happen
        (3, created(3, 2, params={"x": 0.5})),  # not what the sampler proposes
        (14, ended(14, 9)),
        (14, ended(14, 3, dropped_at=0)),  # nobody waited for it there
    ],
)
def test_what_could_not_have_happened_is_found_at_its_seq(seq: int, event: Event) -> None:
    difference = replay(SPEC, with_event(seq, event)).difference
    assert difference is not None
    assert (difference.seq, difference.trial) == (event.seq, event.trial)


def test_a_lost_report_is_found_at_the_first_decision_that_rests_on_it() -> None:
    difference = replay(SPEC, with_event(7, None)).difference
    assert difference is not None
    assert difference.seq == 11


def test_an_ended_trial_is_promoted_no_more() -> None:
    difference = replay(SPEC, [*EVENTS[:10], ended(11, 1), promoted(12, 1, 0, 3)]).difference
    assert difference is not None
    assert difference.seq == 12


def test_who_ends_on_its_way_is_entered_as_the_worst_of_the_rung_it_was_due_at() -> None:
    log = [*EVENTS[:12], ended(13, 1, "failed", dropped_at=1)]
    found = replay(SPEC, log)
    assert found.difference is None
    last = found.entered[-1]
    assert (last.entry.trial, last.entry.rung, last.entry.loss, last.action) == (1, 1, WORST, Action.STOP)
    assert replay(SPEC, [*log[:-1], ended(13, 1, "failed")]).difference == Difference(
        13, 1, expected="last of rung 1", recorded="last of no rung"
    )


def test_nothing_is_promoted_after_enough_whole_trials() -> None:
    # A ladder of one rung: the first report completes, and n_full = 1 is reached.
    flat = a_study(scheduler={"type": "asha", "max_resource": 1, "n_full": 1})
    events = [created(1, 0), started(2, 0), decided(3, 0, 0, 0.5, "complete", state="complete", end_class="complete")]
    assert replay(flat, events).difference is None
    difference = replay(flat, [*events, promoted(4, 0, 0, 3)]).difference
    assert difference is not None
    assert "n_full" in difference.expected


def test_a_configuration_that_was_enqueued_is_nobodys_suggestion() -> None:
    found = replay(SPEC, [created(1, 0, params={"x": 0.5}, enqueued=True), created(2, 1)])
    assert found.difference is None
    assert found.suggestions == 1


def test_who_is_told_to_go_on_without_budget_queues_and_must_be_started_again() -> None:
    log = [*EVENTS[:8], decided(9, 2, 0, 0.2, "continue", target=3, queued=True)]
    too_early = replay(SPEC, [*log, decided(10, 2, 1, 0.1)]).difference
    assert too_early is not None
    assert (too_early.seq, too_early.recorded) == (10, "3, while it is queued")
    assert replay(SPEC, [*log, started(10, 2), decided(11, 2, 1, 0.1)]).difference is None


def test_infeasible_trials_are_entered_behind_the_feasible_ones() -> None:
    log = [
        *EVENTS[:6],
        decided(7, 0, 0, 0.5),
        decided(8, 1, 0, 0.1, violation=0.2),
        decided(9, 2, 0, 0.4, "continue", target=3),
    ]
    found = replay(SPEC, log)
    assert found.difference is None
    assert found.entered[1].entry.loss == merit(0.1, 0.2)


def edited(seq: int, changed: dict[str, Any], before: dict[str, Any]) -> Event:
    return Event(seq, EventType.STUDY_UPDATED, None, {"changed": changed, "before": before})


def test_a_replay_follows_the_edits_of_space_and_budget() -> None:
    narrow = [{"type": "float", "name": "x", "low": 0.0, "high": 0.1}]
    wide = [SPEC.search_space[0].model_dump(mode="json")]
    now = a_study(scheduler=SPEC.scheduler.model_dump(), search_space=narrow, budget={"max_trials": 7})
    fresh = Engine(now).ask([], 2)
    assert fresh != PARAMS[2]
    log = [
        created(1, 0),
        edited(2, {"budget": {"max_trials": 7}}, {"budget": {"max_trials": 100}}),
        created(3, 1),
        edited(4, {"search_space": narrow}, {"search_space": wide}),
        created(5, 2, params=fresh),
    ]
    assert replay(now, log).difference is None
    difference = replay(now, [*log[:-1], created(5, 2)]).difference
    assert difference is not None
    assert difference.seq == 5


def test_an_edit_of_the_space_keeps_the_budget_that_was_edited_before() -> None:
    # The last bracket of a synchronous study is cut at max_trials: who is promoted depends on it.
    halving = {"type": "successive_halving", "max_resource": 3}
    narrow = [{"type": "float", "name": "x", "low": 0.0, "high": 0.1}]
    wide = [SPEC.search_space[0].model_dump(mode="json")]
    now = a_study(scheduler=halving, search_space=narrow, budget={"max_trials": 2})
    log = [
        created(1, 0, enqueued=True),
        created(2, 1, enqueued=True),
        edited(3, {"budget": {"max_trials": 2}}, {"budget": {"max_trials": 100}}),
        edited(4, {"search_space": narrow}, {"search_space": wide}),
        started(5, 0),
        started(6, 1),
        decided(7, 0, 0, 0.5),
        decided(8, 1, 0, 0.4),
        promoted(9, 1, 0, 3),
    ]
    assert replay(now, log).difference is None


def test_an_exhausted_space_ends_the_last_bracket() -> None:
    halving = a_study(scheduler={"type": "successive_halving", "max_resource": 3}, budget={"max_trials": 100})
    exhausted = Event(5, EventType.STUDY_UPDATED, None, {"max_trials": 2, "reason": "space_exhausted"})
    log = [created(1, 0), created(2, 1), started(3, 0), started(4, 1), exhausted]
    log += [decided(6, 0, 0, 0.5), decided(7, 1, 0, 0.4), promoted(8, 1, 0, 3)]
    assert replay(halving, log).difference is None
    difference = replay(halving, [event for event in log if event is not exhausted]).difference
    assert difference is not None
    assert difference.seq == 8
