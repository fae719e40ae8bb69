"""Laws of the stopping rules, and their agreement with references on random logs."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.domain.merit import INFEASIBLE, WORST
from hpo.schedulers.base import RungEntry, StopRule
from hpo.schedulers.rules.curve import CurveRule
from hpo.schedulers.rules.extrapolate import extrapolate
from hpo.schedulers.rules.median import MedianRule, PercentileRule
from hpo.schedulers.rules.patience import PatienceRule
from hpo.schedulers.rules.threshold import ThresholdRule
from hpo.schedulers.rung_log import MemoryRungLog
from tests.property import rules_reference as reference

# The second part makes ties frequent, the third stands for infeasible and failed trials.
merits = st.floats(-10, 10) | st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0]) | st.sampled_from([1.5 * INFEASIBLE, WORST])
statistics = st.sampled_from(["last", "best", "average"])
LANE = -1


@dataclass
class Case:
    """Curves of the rivals and of the trial itself, each with a point per stop; the rule looks at ``levels`` only."""

    stops: list[int]
    levels: tuple[int, ...]
    rivals: list[list[float]]
    own: list[float]

    @property
    def rung(self) -> int:
        return len(self.levels) - 2  # the last look before the full resource

    def at_looks(self, curve: list[float]) -> list[float]:
        return [loss for resource, loss in zip(self.stops, curve, strict=True) if resource in self.levels]

    def past(self, curve: list[float]) -> list[tuple[int, float]]:
        return list(zip(self.stops, curve, strict=True))[:-1]

    def entry(self, loss: float | None = None) -> RungEntry:
        n = len(self.rivals)
        return RungEntry(n, LANE, self.rung, self.own[-1] if loss is None else loss, n)

    def log(self, rule: StopRule, order: list[int] | None = None) -> MemoryRungLog:
        numbers = range(len(self.rivals)) if order is None else order
        return MemoryRungLog(
            RungEntry(n, LANE, self.rung, rule.score(self.rivals[n][-1], self.past(self.rivals[n])), seq)
            for seq, n in enumerate(numbers)
        )

    def stop(self, rule: StopRule, loss: float | None = None) -> bool:
        return rule.stops(self.entry(loss), self.past(self.own), self.log(rule))


@st.composite
def cases(draw: st.DrawFn, max_rivals: int = 20) -> Case:
    stops = sorted(draw(st.sets(st.integers(1, 50), min_size=1, max_size=8)))
    # The present stop is a look; of the earlier ones some are a scheduler's rungs and no looks.
    looks = [stop for stop in stops[:-1] if draw(st.booleans())] + [stops[-1]]
    curve = st.lists(merits, min_size=len(stops), max_size=len(stops))
    return Case(stops, (*looks, 99), draw(st.lists(curve, max_size=max_rivals)), draw(curve))


def scores(case: Case, kind: str) -> list[float]:
    return [reference.statistic(kind, case.at_looks(curve)) for curve in case.rivals]


@given(case=cases(), value=statistics, rivals=statistics, min_trials=st.integers(1, 8))
@settings(max_examples=2000)
def test_the_median_rule_equals_numpys_median(case: Case, value: Any, rivals: Any, min_trials: int) -> None:
    rule = MedianRule(case.levels, min_trials=min_trials, value=value, rivals=rivals)
    mine = reference.statistic(value, case.at_looks(case.own))
    expected = len(case.rivals) >= min_trials and mine > reference.median(scores(case, rivals))
    assert case.stop(rule) == expected


@given(
    case=cases(),
    value=statistics,
    rivals=statistics,
    min_trials=st.integers(1, 8),
    percent=st.sampled_from([10, 25, 50, 75, 90]) | st.floats(0.1, 99.9),
)
@settings(max_examples=2000)
def test_the_percentile_rule_equals_numpys_percentile(
    case: Case, value: Any, rivals: Any, min_trials: int, percent: float
) -> None:
    rule = PercentileRule(case.levels, percentile=percent, min_trials=min_trials, value=value, rivals=rivals)
    mine = reference.statistic(value, case.at_looks(case.own))
    expected = len(case.rivals) >= min_trials and mine > reference.percentile(scores(case, rivals), percent)
    assert case.stop(rule) == expected


@given(case=cases(max_rivals=0), patience=st.integers(1, 8), min_delta=st.floats(0, 5) | st.sampled_from([0.0, 0.1]))
@settings(max_examples=2000)
def test_the_patience_rule_equals_its_definition(case: Case, patience: int, min_delta: float) -> None:
    expected = reference.out_of_patience(case.at_looks(case.own), patience, min_delta)
    assert case.stop(PatienceRule(case.levels, patience, min_delta)) == expected


@given(case=cases(max_rivals=0), ends=st.tuples(st.floats(-10, 10), st.floats(-10, 10)))
def test_the_threshold_rule_stops_outside_of_its_bounds_and_leaves_infeasible_trials(
    case: Case, ends: tuple[float, float]
) -> None:
    low, high = sorted(ends)
    loss = case.own[-1]
    assert case.stop(ThresholdRule(case.levels, low, high)) == ((loss < low or loss > high) and loss < INFEASIBLE)
    assert case.stop(ThresholdRule(case.levels, upper=high)) == (high < loss < INFEASIBLE)


@given(
    case=cases(),
    better=merits,
    kinds=st.tuples(statistics, statistics),
    percent=st.floats(0.1, 99.9),
    patience=st.integers(1, 4),
)
def test_a_lower_loss_never_turns_going_on_into_a_stop(
    case: Case, better: float, kinds: tuple[Any, Any], percent: float, patience: int
) -> None:
    better, case.own[-1] = sorted((better, case.own[-1]))
    value, rivals = kinds
    rules: list[StopRule] = [
        MedianRule(case.levels, min_trials=1, value=value, rivals=rivals),
        PercentileRule(case.levels, percentile=percent, min_trials=1, value=value, rivals=rivals),
        PatienceRule(case.levels, patience, 0.1),
    ]
    if case.own[-1] < INFEASIBLE:  # the threshold judges no others
        rules.append(ThresholdRule(case.levels, upper=0.5))
    for rule in rules:
        assert case.stop(rule) or not case.stop(rule, better)


@given(case=cases(), data=st.data(), kinds=st.tuples(statistics, statistics), percent=st.floats(0.1, 99.9))
def test_the_order_in_which_rivals_came_plays_no_part(
    case: Case, data: st.DataObject, kinds: tuple[Any, Any], percent: float
) -> None:
    order = data.draw(st.permutations(range(len(case.rivals))))
    value, rivals = kinds
    for rule in (
        MedianRule(case.levels, min_trials=1, value=value, rivals=rivals),
        PercentileRule(case.levels, percentile=percent, min_trials=1, value=value, rivals=rivals),
    ):
        assert rule.stops(case.entry(), case.past(case.own), case.log(rule, order)) == case.stop(rule)


@given(curve=st.lists(merits, min_size=1, max_size=6), n=st.integers(1, 30), percent=st.floats(0.1, 99.9))
def test_a_trial_like_all_the_others_goes_on(curve: list[float], n: int, percent: float) -> None:
    case = Case([*range(1, len(curve) + 1)], (*range(1, len(curve) + 1), 99), [curve] * n, curve)
    for kind in ("last", "best", "average"):
        same: dict[str, Any] = {"min_trials": 1, "value": kind, "rivals": kind}
        assert not case.stop(MedianRule(case.levels, **same))
        assert not case.stop(PercentileRule(case.levels, percentile=percent, **same))


@given(
    curve=st.lists(
        st.floats(allow_nan=False, allow_infinity=False) | st.floats(-1, 1) | st.sampled_from([0.0, 1.0]),
        min_size=4,
        max_size=12,
    ),
    gaps=st.lists(st.integers(1, 1000), min_size=13, max_size=13),
    better=st.floats(allow_nan=False, allow_infinity=False),
    worse=st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_curve_has_a_distribution_and_warns_of_nothing(
    curve: list[float], gaps: list[int], better: float, worse: float
) -> None:
    resources = [sum(gaps[: k + 1]) for k in range(len(curve) + 1)]
    mixture = extrapolate(resources[:-1], curve, resources[-1])
    low, high = sorted((better, worse))
    assert 0 <= mixture.chance_below(low) <= mixture.chance_below(high) + 1e-12 <= 1 + 2e-12
    assert mixture.weights.sum() == pytest.approx(1)


@given(
    curve=st.lists(st.floats(0, 1), min_size=4, max_size=10),
    complete=st.lists(st.floats(-1, 2) | st.just(WORST), max_size=5),
    min_chance=st.floats(0.01, 0.9),
    min_points=st.integers(4, 8),
)
def test_the_curve_rule_stops_whose_chance_against_the_best_complete_trial_is_small(
    curve: list[float], complete: list[float], min_chance: float, min_points: int
) -> None:
    levels = (*range(2, 2 * len(curve) + 2, 2), 60)
    rule = CurveRule(levels, min_chance, min_points)
    log = MemoryRungLog(RungEntry(n, LANE, len(curve), loss, n) for n, loss in enumerate(complete))
    entry = RungEntry(99, LANE, len(curve) - 1, curve[-1], 99)
    judged = min(complete, default=WORST) < INFEASIBLE and len(curve) >= min_points
    chance = extrapolate(levels[:-1], curve, 60).chance_below(min(complete)) if judged else 1.0
    assert rule.stops(entry, list(zip(levels, curve[:-1], strict=False)), log) == (chance < min_chance)
