import math
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from hpo.domain.merit import INFEASIBLE, WORST
from hpo.schedulers.base import Past, RungEntry, StopRule
from hpo.schedulers.rules.build import build_rules
from hpo.schedulers.rules.curve import CurveRule
from hpo.schedulers.rules.median import MedianRule, PercentileRule
from hpo.schedulers.rules.patience import PatienceRule
from hpo.schedulers.rules.threshold import ThresholdRule
from hpo.schedulers.rung_log import MemoryRungLog
from hpo.spec.schedulers import AutoSchedulerSpec
from hpo.spec.study import StudySpec
from tests.unit.hpo.builders import a_study

LEVELS = (1, 3, 5, 9)
LANE = -1


def stops(rule: StopRule, curve: Sequence[float], rivals: Sequence[float] = (), past: Past = ()) -> bool:
    """Judge a trial whose losses at the first levels are ``curve``, among rivals with these scores at its last look."""
    rung = len(curve) - 1
    log = MemoryRungLog(RungEntry(n, LANE, rung, loss, n) for n, loss in enumerate(rivals))
    entry = RungEntry(len(rivals), LANE, rung, curve[-1], len(rivals))
    return rule.stops(entry, past or list(zip(LEVELS, curve[:-1], strict=False)), log)


def test_the_median_of_an_even_number_is_the_mean_of_the_two_middle_ones() -> None:
    rule = MedianRule(LEVELS, min_trials=4)
    assert not stops(rule, [0.25], [0.1, 0.2, 0.3, 0.9])
    assert stops(rule, [0.26], [0.1, 0.2, 0.3, 0.9])


def test_fewer_rivals_than_min_trials_stop_nobody() -> None:
    assert not stops(MedianRule(LEVELS, min_trials=4), [9.0], [0.1] * 3)
    assert stops(MedianRule(LEVELS, min_trials=4), [9.0], [0.1] * 4)


@pytest.mark.parametrize(("value", "stopped"), [("last", True), ("best", False), ("average", True)])
def test_a_trial_is_judged_by_the_statistic_that_is_asked_for(value: Any, stopped: bool) -> None:
    assert stops(MedianRule(LEVELS, min_trials=1, value=value), [0.1, 0.9], [0.4]) == stopped


def test_stops_that_are_no_looks_of_the_rule_count_for_nothing() -> None:
    rule = MedianRule((2, 4, 9), min_trials=1, value="best", rivals="best")
    past = [(1, 0.0), (2, 0.5), (3, 0.0)]
    assert rule.score(0.7, past) == 0.5
    assert stops(rule, [0.5, 0.7], [0.4], past)


def test_a_percentile_keeps_the_best_so_many_percent() -> None:
    rivals = [0.0, 1.0, 2.0, 3.0, 4.0]
    rule = PercentileRule(LEVELS, percentile=25, min_trials=1)
    assert not stops(rule, [1.0], rivals)
    assert stops(rule, [1.1], rivals)
    assert not stops(PercentileRule(LEVELS, percentile=30, min_trials=1), [1.2], rivals)  # 1 + 0.2 of the way to 2


def test_an_average_over_an_infeasible_look_is_infeasible_and_finite() -> None:
    rule = MedianRule(LEVELS, min_trials=1, value="average", rivals="average")
    assert rule.score(0.1, [(1, 1.5 * INFEASIBLE), (3, 0.2)]) == 1.5 * INFEASIBLE
    assert stops(rule, [WORST, 0.1], [0.9])
    assert not stops(rule, [0.2, 0.1], [WORST, WORST])


def test_a_median_between_feasible_and_infeasible_rivals_stops_no_feasible_trial() -> None:
    rule = MedianRule(LEVELS, min_trials=1)
    assert not stops(rule, [1e6], [0.1, WORST])
    assert stops(rule, [WORST], [0.1, 1.5 * INFEASIBLE])


@pytest.mark.parametrize("statistic", ["last", "best", "average"])
def test_the_largest_numbers_overflow_nowhere(statistic: Any) -> None:
    most = sys.float_info.max
    same: dict[str, Any] = {"min_trials": 1, "value": statistic, "rivals": statistic}
    for rule in (MedianRule(LEVELS, **same), PercentileRule(LEVELS, percentile=30, **same)):
        low, high = rule.score(-most, [(1, -most), (3, -most)]), rule.score(most, [(1, most)])
        assert -math.inf < low < high < math.inf
        assert not stops(rule, [-most, -most], [low, low])
        assert stops(rule, [most, most], [low, low])
    assert stops(PatienceRule(LEVELS, patience=1), [-most, most])
    assert not stops(PatienceRule(LEVELS, patience=1), [most, -most])
    log = MemoryRungLog([RungEntry(0, LANE, 4, -most, 0)])
    swing = [(1, 1e299), (3, -most), (5, 1e299)]
    assert not CurveRule((*LEVELS, 10)).stops(RungEntry(1, LANE, 3, -most, 1), swing, log)


def test_a_rule_among_completed_trials_enters_at_completion() -> None:
    assert MedianRule(LEVELS, among="completed").enters_at_completion
    assert not MedianRule(LEVELS).enters_at_completion


def test_patience_counts_looks_since_the_best_one() -> None:
    rule = PatienceRule(LEVELS, patience=2, min_delta=0.1)
    assert not stops(rule, [1.0, 1.0])  # no look before the last two
    assert stops(rule, [1.0, 0.9, 0.95])  # not by more than 0.1
    assert not stops(rule, [1.0, 0.95, 0.85])


def test_becoming_feasible_is_an_improvement() -> None:
    assert not stops(PatienceRule(LEVELS, patience=1, min_delta=5), [INFEASIBLE, 7.0])


def rules_of(**fields: Any) -> tuple[StopRule, ...]:
    return build_rules(a_study(**fields))


def test_the_scheduler_comes_first_and_the_pruners_follow_in_their_order() -> None:
    rules = rules_of(
        scheduler={"type": "percentile", "percentile": 30, "max_resource": 9, "grace": 2, "interval": 3},
        pruners=[
            {"type": "patience", "patience": 2, "grace": 4},
            {"type": "curve", "min_chance": 0.1, "min_points": 6},
        ],
    )
    assert rules == (
        PercentileRule((2, 5, 8, 9), percentile=30, min_trials=5, value="best", rivals="last", among="same_step"),
        PatienceRule((4, 5, 6, 7, 8, 9), 2, 0.0),
        CurveRule((1, 2, 3, 4, 5, 6, 7, 8, 9), 0.1, 6),
    )


def test_a_scheduler_that_is_no_rule_has_only_the_pruners() -> None:
    assert rules_of() == ()
    median = {"type": "median", "interval": 4, "min_trials": 3, "value": "last", "rivals": "best", "among": "completed"}
    assert rules_of(pruners=[median]) == (
        MedianRule((1, 5, 9), min_trials=3, value="last", rivals="best", among="completed"),
    )


def test_what_auto_picked_decides_and_before_there_is_nothing_to_build() -> None:
    picked = {"type": "median", "max_resource": 9, "interval": 4}
    assert rules_of(scheduler={"type": "auto", "max_resource": 9, "picked": picked}) == (MedianRule((1, 5, 9)),)
    with pytest.raises(ValueError, match="must be picked"):
        build_rules(a_study().model_copy(update={"scheduler": AutoSchedulerSpec(max_resource=9)}))


@pytest.mark.parametrize(
    ("direction", "bounds", "goes_on", "stopped"),
    [
        ("minimize", {"upper": 2.0}, [-9.0, 2.0], [2.1]),
        ("minimize", {"lower": 1.0, "upper": 2.0}, [1.0, 2.0], [0.9, 2.1]),
        ("maximize", {"lower": 0.1}, [0.1, 5.0], [0.09]),
        ("maximize", {"lower": 0.1, "upper": 0.9}, [0.1, 0.9], [0.05, 0.95]),
    ],
)
def test_a_threshold_is_given_in_the_metrics_own_unit(
    direction: str, bounds: dict[str, float], goes_on: list[float], stopped: list[float]
) -> None:
    spec = a_study(
        objectives=[{"metric": "loss", "direction": direction}], pruners=[{"type": "threshold", **bounds, "grace": 9}]
    )
    (rule,) = build_rules(spec)
    assert isinstance(rule, ThresholdRule)
    for metrics, expected in ((goes_on, False), (stopped, True)):
        assert [stops(rule, [spec.objective.loss(metric)]) for metric in metrics] == [expected] * len(metrics)


def refusal(**fields: Any) -> tuple[str, str, str]:
    with pytest.raises(ValidationError) as refused:
        a_study(**fields)
    (error,) = refused.value.errors()
    return str(error["ctx"]["field"]), error["type"], error["msg"]


def test_a_thousand_looks_are_the_most() -> None:
    scheduler = {"type": "median", "max_resource": 1001}
    assert len(build_rules(a_study(scheduler={"type": "median", "max_resource": 1000}))[0].levels) == 1000
    field, code, message = refusal(scheduler=scheduler)
    assert (field, code) == ("interval", "too_many_looks")
    assert "interval must be at least 2" in message
    assert refusal(pruners=[{"type": "patience", "patience": 1}], scheduler={"type": "fifo", "max_resource": 10**9})[
        :2
    ] == ("pruners/0/interval", "too_many_looks")


@pytest.mark.parametrize("max_resource", [1001, 1999, 54_321, 10**9])
@pytest.mark.parametrize("grace", [1, 7, 1000])
def test_the_interval_that_a_refusal_names_is_the_least_that_is_taken(max_resource: int, grace: int) -> None:
    def build(interval: int) -> StudySpec:
        rule = {"type": "median", "max_resource": max_resource, "grace": grace, "interval": interval}
        return a_study(scheduler=rule)

    if max_resource - grace < 1000:
        assert len(build_rules(build(1))[0].levels) == max_resource - grace + 1
        return
    with pytest.raises(ValidationError) as refused:
        build(1)
    least = int(refused.value.errors()[0]["msg"].split("at least ")[1].split()[0])
    assert len(build_rules(build(least))[0].levels) <= 1000
    with pytest.raises(ValidationError):
        build(least - 1)


def test_a_grace_beyond_the_full_resource_is_refused() -> None:
    assert refusal(scheduler={"type": "median", "max_resource": 9, "grace": 10})[:2] == ("grace", "grace_above_max")
    pruners = [{"type": "median", "grace": 9}, {"type": "median", "grace": 10}]
    assert refusal(pruners=pruners)[:2] == ("pruners/1/grace", "grace_above_max")


def test_a_population_has_at_most_a_thousand_generations_and_at_least_one() -> None:
    pbt = {"type": "pbt", "max_resource": 10_000}
    assert a_study(scheduler=pbt | {"interval": 10}).scheduler.type == "pbt"
    assert refusal(scheduler=pbt | {"interval": 9})[:2] == ("interval", "too_many_looks")
    assert refusal(scheduler=pbt | {"interval": 10_001})[:2] == ("interval", "interval_above_max")


def test_a_pick_for_another_resource_is_refused() -> None:
    picked = {"type": "fifo", "max_resource": 8}
    auto = {"type": "auto", "max_resource": 9, "picked": picked}
    assert refusal(scheduler=auto)[:2] == ("picked/max_resource", "contradictory")
