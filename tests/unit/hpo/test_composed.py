"""A scheduler with rules beside it: the stops, the one answer, and what goes into whose lane."""

import pytest

from hpo.domain.merit import WORST, merit
from hpo.schedulers.asha import PromotingAsha
from hpo.schedulers.base import Action, Decision, Past, Promote, RungEntry, StudyView
from hpo.schedulers.composed import Arrival, Composed, Verdict
from hpo.schedulers.fifo import Fifo
from hpo.schedulers.rules.median import MedianRule
from hpo.schedulers.rules.patience import PatienceRule
from hpo.schedulers.rules.threshold import ThresholdRule
from hpo.schedulers.rung_log import MemoryRungLog

ASHA = PromotingAsha((1, 3, 9), 3)
VIEW = StudyView(created=9, max_trials=9, queued=0, running=0, complete=0)


def told(verdict: Verdict) -> list[tuple[int, int, float, Action, int]]:
    """Bracket, rung, merit, action and resource of what is entered."""
    return [(e.entry.bracket, e.entry.rung, e.entry.loss, e.action, e.resource) for e in verdict.entered]


def no_past() -> Past:
    raise AssertionError("nobody looks at this stop, so that the past need not be read")


def asha_log(*losses: float, rung: int = 0) -> MemoryRungLog:
    return MemoryRungLog(RungEntry(10 + seq, 0, rung, loss, seq) for seq, loss in enumerate(losses, start=1))


def test_a_trial_stops_at_every_rung_and_every_look() -> None:
    composed = Composed(ASHA, (PatienceRule((2, 4, 6, 9), 1), ThresholdRule((1, 5, 9))))
    assert composed.stops(0) == (1, 2, 3, 4, 5, 6, 9)
    assert [composed.next_stop(0, step) for step in (0, 1, 3, 6)] == [1, 2, 4, 9]


def test_without_rules_the_answer_is_the_schedulers() -> None:
    verdict = Composed(ASHA).decide(Arrival(0, 0, 1, 9, 0.1), no_past, asha_log(0.2, 0.3))
    assert verdict.decision == Decision(Action.CONTINUE, 3)
    assert (verdict.rung, told(verdict)) == (0, [(0, 0, 0.1, Action.CONTINUE, 1)])


def test_to_go_on_is_to_the_next_stop_and_not_to_the_next_rung() -> None:
    composed = Composed(ASHA, (PatienceRule((2, 9), 1),))
    assert composed.decide(Arrival(0, 0, 1, 9, 0.1), no_past, asha_log(0.2, 0.3)).decision.target == 2
    between = composed.decide(Arrival(0, 0, 2, 10, 0.1), lambda: [(1, 0.1)], asha_log(0.2, 0.3))
    assert between.decision == Decision(Action.CONTINUE, 3)
    assert (between.rung, told(between)) == (None, [(-1, 0, 0.1, Action.CONTINUE, 2)])


def test_a_promotion_leads_to_the_next_stop() -> None:
    composed = Composed(ASHA, (PatienceRule((2, 9), 1),))
    assert composed.next_work(asha_log(0.2, 0.1, 0.3), VIEW) == Promote(12, 0, 0, 2)


def test_a_rule_overrules_the_scheduler_and_whom_it_stops_takes_no_share_of_the_rung() -> None:
    composed = Composed(ASHA, (ThresholdRule((1, 9), upper=0.5),))
    verdict = composed.decide(Arrival(0, 0, 1, 9, 0.6), lambda: (), asha_log(0.7, 0.8))
    assert verdict.decision == Decision(Action.STOP)
    assert told(verdict) == [(0, 0, WORST, Action.STOP, 1), (-1, 0, 0.6, Action.STOP, 1)]
    assert not any(one.waiting for one in verdict.entered)


def test_who_is_stopped_between_two_rungs_is_the_worst_of_the_next_one() -> None:
    composed = Composed(ASHA, (ThresholdRule((5, 9), upper=0.5),))
    verdict = composed.decide(Arrival(0, 0, 5, 9, 0.6), lambda: (), MemoryRungLog())
    assert (verdict.decision, verdict.rung) == (Decision(Action.STOP), None)
    assert told(verdict) == [(0, 2, WORST, Action.STOP, 9), (-1, 0, 0.6, Action.STOP, 5)]


def test_at_the_full_resource_no_rule_stops_anybody() -> None:
    composed = Composed(Fifo(9), (ThresholdRule((5, 9), upper=0.5), PatienceRule((5, 9), 1)))
    verdict = composed.decide(Arrival(0, 0, 9, 9, 0.6), lambda: [(5, 0.1)], MemoryRungLog())
    assert verdict.decision == Decision(Action.COMPLETE)
    assert told(verdict) == [
        (0, 0, 0.6, Action.COMPLETE, 9),
        (-1, 1, 0.6, Action.CONTINUE, 9),
        (-2, 1, 0.6, Action.CONTINUE, 9),
    ]


def test_each_rule_keeps_its_own_lane_and_only_the_one_that_stops_says_so() -> None:
    composed = Composed(Fifo(9), (ThresholdRule((5, 9), upper=0.7), ThresholdRule((5, 9), upper=0.5)))
    verdict = composed.decide(Arrival(0, 0, 5, 9, 0.6), lambda: (), MemoryRungLog())
    assert told(verdict) == [(-1, 0, 0.6, Action.CONTINUE, 5), (-2, 0, 0.6, Action.STOP, 5)]


def test_a_lane_of_complete_trials_gets_all_looks_when_the_trial_completes() -> None:
    rule = MedianRule((2, 5, 9), among="completed", rivals="best", min_trials=1)
    composed = Composed(Fifo(9), (rule,))
    early = composed.decide(Arrival(0, 0, 2, 7, 0.4), lambda: (), MemoryRungLog())
    assert told(early) == []
    past = [(2, 0.4), (3, 0.1), (5, 0.6)]  # at 3 another rule looked
    verdict = composed.decide(Arrival(0, 0, 9, 8, 0.5), lambda: past, MemoryRungLog())
    assert told(verdict) == [
        (0, 0, 0.5, Action.COMPLETE, 9),
        (-1, 0, 0.4, Action.CONTINUE, 2),
        (-1, 1, 0.4, Action.CONTINUE, 5),
        (-1, 2, 0.4, Action.CONTINUE, 9),
    ]
    assert {one.entry.seq for one in verdict.entered} == {8}


def test_a_median_stops_by_what_its_lane_holds() -> None:
    composed = Composed(Fifo(9), (MedianRule((2, 9), min_trials=3),))
    lane = MemoryRungLog(RungEntry(10 + seq, -1, 0, loss, seq) for seq, loss in enumerate((0.1, 0.2, 0.3), start=1))
    assert composed.decide(Arrival(0, 0, 2, 9, 0.2), lambda: (), lane).decision == Decision(Action.CONTINUE, 9)
    assert composed.decide(Arrival(0, 0, 2, 9, 0.21), lambda: (), lane).decision == Decision(Action.STOP)


def test_rungs_rank_by_merit_and_rules_judge_the_loss_itself() -> None:
    composed = Composed(ASHA, (ThresholdRule((1, 9), upper=0.5),))
    verdict = composed.decide(Arrival(0, 0, 1, 9, 0.1, violation=2.0), lambda: (), asha_log(0.7, 0.8))
    assert verdict.decision == Decision(Action.PAUSE)  # the best loss, but infeasible
    assert told(verdict) == [(0, 0, merit(0.1, 2.0), Action.PAUSE, 1), (-1, 0, 0.1, Action.CONTINUE, 1)]
    assert [one.waiting for one in verdict.entered] == [True, False]


def test_who_ends_on_its_way_is_entered_where_it_was_due() -> None:
    composed = Composed(ASHA)
    (one,) = composed.dropped(4, 0, 1, seq=8)
    assert one.entry == RungEntry(4, 0, 1, WORST, 8)
    assert (one.action, one.resource, one.waiting) == (Action.STOP, 3, False)
    assert composed.dropped(4, 0, 3, seq=8) == []  # beyond the last rung
    assert Composed(Fifo(9)).dropped(4, 0, 0, seq=8) == []  # nobody is compared there


def test_a_last_bracket_of_one_rung_is_told_who_ended() -> None:
    # A synchronous bracket counts its arrivals, though there is nothing to promote in it.
    composed = Composed(PromotingAsha((1, 3, 9), 3, brackets=3))
    assert [one.entry.rung for one in composed.dropped(4, 2, 0, seq=8)] == [0]


def pareto_log(*vectors: tuple[float, float]) -> MemoryRungLog:
    return MemoryRungLog(
        RungEntry(10 + seq, 0, 0, vector[0], seq, vector) for seq, vector in enumerate(vectors, start=1)
    )


def test_several_objectives_are_compared_by_domination() -> None:
    composed = Composed(ASHA, objectives=2)
    log = pareto_log((0.1, 0.9), (0.5, 0.5))
    best = composed.decide(Arrival(0, 0, 1, 9, 0.05, (0.05, 0.4)), no_past, log)
    assert best.decision == Decision(Action.CONTINUE, 3)
    assert best.entered[0].entry.vector == (0.05, 0.4)
    worst = composed.decide(Arrival(0, 0, 1, 9, 0.6, (0.6, 0.95)), no_past, log)
    assert worst.decision == Decision(Action.PAUSE)


def test_of_several_objectives_the_trial_that_dominates_is_promoted() -> None:
    composed = Composed(ASHA, objectives=2)
    log = pareto_log((0.1, 0.9), (0.05, 0.4), (0.5, 0.5))
    assert composed.next_work(log, VIEW) == Promote(12, 0, 0, 3)
    assert composed.cutoff(0, 0, log) is None


def test_an_infeasible_vector_is_behind_every_feasible_one() -> None:
    composed = Composed(ASHA, objectives=2)
    arrival = Arrival(0, 0, 1, 9, 0.0, (0.0, 0.0), violation=0.1)
    verdict = composed.decide(arrival, no_past, pareto_log((0.8, 0.9), (0.9, 0.8)))
    assert verdict.decision == Decision(Action.PAUSE)
    assert verdict.entered[0].entry.vector == (merit(0.0, 0.1),) * 2


def test_an_ended_trial_of_several_objectives_is_the_worst_in_all() -> None:
    (one,) = Composed(ASHA, objectives=2).dropped(4, 0, 0, seq=8)
    assert one.entry.vector == (WORST, WORST)


def test_the_cutoff_is_the_loss_of_the_last_that_may_go_on() -> None:
    assert Composed(ASHA).cutoff(0, 0, asha_log(0.6, 0.1, 0.3, 0.2, 0.5, 0.4)) == 0.2


def test_beyond_the_last_stop_there_is_none() -> None:
    with pytest.raises(IndexError):
        Composed(ASHA).next_stop(0, 9)


def test_who_ends_of_its_own_accord_competes_where_it_was_due_and_is_waited_for_nowhere() -> None:
    composed = Composed(ASHA)
    here, beyond = composed.ended(Arrival(4, 0, 2, 8, 0.3, violation=0.0), 1)
    assert here.entry == RungEntry(4, 0, 1, 0.3, 8)
    assert (here.action, here.resource, here.waiting) == (Action.COMPLETE, 3, False)
    assert (beyond.entry, beyond.action) == (RungEntry(4, 0, 2, WORST, 8), Action.STOP)
    (only,) = Composed(Fifo(9)).ended(Arrival(4, 0, 2, 8, 0.3, violation=2.0), 0)
    assert (only.entry.loss, only.resource) == (merit(0.3, 2.0), 9)
