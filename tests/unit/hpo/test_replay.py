from dataclasses import replace

import pytest

from hpo.replay import Created, Difference, Ended, Event, Promoted, Reported, replay
from hpo.schedulers.base import Action, Decision
from tests.unit.hpo.builders import a_study

SPEC = a_study(scheduler={"type": "asha", "max_resource": 9, "n_full": 1})
PAUSE, STOP, COMPLETE = Decision(Action.PAUSE), Decision(Action.STOP), Decision(Action.COMPLETE)
# Of three trials the second is best; the third's report makes it promotable.
EVENTS: tuple[Event, ...] = (
    Created(1, 0),
    Created(2, 1),
    Created(3, 2),
    Reported(4, 0, 0, 0, 0.5, PAUSE),
    Reported(5, 1, 0, 0, 0.3, PAUSE),
    Reported(6, 2, 0, 0, 0.4, PAUSE),
    Created(7, 3),  # sampled ahead of need, although a promotion was due
    Promoted(8, 1, 0, 0, 3),
    Reported(10, 1, 0, 1, 0.2, PAUSE),
    Ended(11, 3),
)


def with_event(seq: int, event: Event | None) -> list[Event]:
    return [kept for old in EVENTS if (kept := event if old.seq == seq else old) is not None]


def test_a_true_record_has_no_difference() -> None:
    assert replay(SPEC, EVENTS) is None
    assert replay(SPEC, []) is None


def test_another_decision_is_told_with_what_it_should_have_been() -> None:
    forged = with_event(6, Reported(6, 2, 0, 0, 0.2, PAUSE))
    assert replay(SPEC, forged) == Difference(6, 2, expected="continue to 3", recorded="pause")


def test_a_wrong_target_is_a_difference() -> None:
    forged = with_event(6, Reported(6, 2, 0, 0, 0.2, Decision(Action.CONTINUE, 9)))
    assert replay(SPEC, forged) == Difference(6, 2, expected="continue to 3", recorded="continue to 9")


@pytest.mark.parametrize(
    ("seq", "event"),
    [
        (8, Promoted(8, 2, 0, 0, 3)),  # not the best that waits
        (8, Promoted(8, 1, 0, 0, 9)),  # a rung too far
        (6, Promoted(6, 1, 0, 0, 3)),  # too early: two entries make no third
        (9, Promoted(9, 1, 0, 1, 9)),  # before it arrived there
        (5, Reported(5, 1, 0, 1, 0.3, PAUSE)),  # a rung left out
        (10, Reported(10, 2, 0, 1, 0.2, PAUSE)),  # paused, so it cannot report
        (10, Reported(10, 1, 0, 0, 0.2, PAUSE)),  # at that rung before
        (10, Reported(10, 9, 0, 0, 0.2, PAUSE)),  # never created
        (3, Created(3, 1)),  # created before
        (3, Created(2, 2)),  # seq does not rise
        (11, Ended(11, 9)),
    ],
)
def test_what_could_not_have_happened_is_found_at_its_seq(seq: int, event: Event) -> None:
    forged = with_event(seq, event) if seq != 9 else [*EVENTS[:8], event, *EVENTS[8:]]
    difference = replay(SPEC, forged)
    assert difference is not None
    assert (difference.seq, difference.trial) == (event.seq, event.trial)


def test_a_lost_report_is_found_at_the_first_decision_that_rests_on_it() -> None:
    difference = replay(SPEC, with_event(4, None))
    assert difference is not None
    assert difference.seq == 8


def test_an_ended_trial_is_promoted_no_more() -> None:
    ended = [*EVENTS[:7], replace(EVENTS[9], seq=8, trial=1), Promoted(9, 1, 0, 0, 3)]
    difference = replay(SPEC, ended)
    assert difference is not None
    assert difference.seq == 9


def test_nothing_is_promoted_after_enough_whole_trials() -> None:
    # A ladder of one rung: the first report completes, and n_full = 1 is reached.
    flat = a_study(scheduler={"type": "asha", "max_resource": 1, "n_full": 1})
    events: list[Event] = [Created(1, 0), Reported(2, 0, 0, 0, 0.5, COMPLETE)]
    assert replay(flat, events) is None
    difference = replay(flat, [*events, Promoted(3, 0, 0, 0, 3)])
    assert difference is not None
    assert "n_full" in difference.expected


def test_a_forced_answer_is_recorded_and_not_compared() -> None:
    forced = [*EVENTS[:5], Reported(6, 2, 0, 0, 0.4, STOP, forced=True), Promoted(8, 1, 0, 0, 3)]
    assert replay(SPEC, forced) is None
    unforced = with_event(6, Reported(6, 2, 0, 0, 0.4, STOP))
    assert replay(SPEC, unforced) == Difference(6, 2, expected="pause", recorded="stop")
