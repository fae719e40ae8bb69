"""What is made of the replicates: means, intervals, the gap, and whom they recommend."""

import math

import numpy as np
import pytest
from scipy import stats

from hpo.analysis.confirmation import Confirmed, Replicate, Winner, confirmed, recommended, same, wilson
from hpo.domain.trial import TrialState
from hpo.spec.search import Objective

MOST = Objective(metric="acc", direction="maximize")
LEAST = Objective(metric="loss", direction="minimize")
A, B = {"x": 1}, {"x": 2}


def trained(params: dict[str, int], *values: float) -> list[Replicate]:
    return [Replicate(number, params, TrialState.COMPLETE, (value,)) for number, value in enumerate(values)]


def ended(params: dict[str, int], state: TrialState, *values: float, feasible: bool = True) -> Replicate:
    return Replicate(9, params, state, values, feasible)


def judged(*replicates: Replicate, value: float = 0.9) -> Confirmed:
    [found] = confirmed([Winner(A, 7, value)], replicates)
    return found


def test_the_mean_of_the_replicates_has_students_interval_and_the_search_its_gap() -> None:
    values = [0.81, 0.84, 0.86, 0.79, 0.83]
    found = judged(*trained(A, *values), *trained(B, 0.1))
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert found.mean == pytest.approx(np.mean(values))
    assert found.ci95 == pytest.approx((high - low) / 2)
    assert found.gap == pytest.approx(0.9 - np.mean(values))
    assert (found.n, found.complete, found.failed, found.pending, found.trial) == (5, 5, 0, 0, 7)


def test_folds_of_one_training_are_values_of_their_own() -> None:
    found = judged(Replicate(0, A, TrialState.COMPLETE, (0.7, 0.8, 0.9)))
    assert (found.n, found.complete, found.mean) == (3, 1, pytest.approx(0.8))


@pytest.mark.parametrize(
    "failed",
    [
        ended(A, TrialState.FAILED),
        ended(A, TrialState.PRUNED),
        ended(A, TrialState.CANCELLED, 0.99),
        ended(A, TrialState.COMPLETE, 0.99, feasible=False),
    ],
)
def test_what_came_to_nothing_counts_as_failed_and_not_as_a_value(failed: Replicate) -> None:
    found = judged(*trained(A, 0.8), failed)
    assert (found.values, found.failed, found.ci95) == ((0.8,), 1, None)
    assert found.trusted
    assert not judged(*trained(A, 0.8), failed, failed).trusted


def test_what_has_not_ended_is_pending() -> None:
    found = judged(*trained(A, 0.8), ended(A, TrialState.RUNNING), ended(A, TrialState.QUEUED))
    assert (found.pending, found.trusted) == (2, False)
    assert judged().mean is None
    assert not judged().trusted


@pytest.mark.parametrize(("objective", "chosen"), [(MOST, 1), (LEAST, 0)])
def test_the_best_mean_is_recommended(objective: Objective, chosen: int) -> None:
    winners = [Winner(A, 0, 0.99), Winner(B, 1, 0.5)]
    found = confirmed(winners, [*trained(A, 0.6, 0.7), *trained(B, 0.7, 0.8)])
    assert recommended(found, objective) == chosen


def test_of_equal_means_the_one_that_is_known_better_is_recommended() -> None:
    winners = [Winner({"x": x}, x, 0.9) for x in range(3)]
    replicates = [*trained({"x": 0}, 0.5), *trained({"x": 1}, 0.25, 0.75), *trained({"x": 2}, 0.375, 0.625)]
    assert recommended(confirmed(winners, replicates), MOST) == 2


def test_nobody_is_recommended_whose_replicates_mostly_failed() -> None:
    failed = ended(A, TrialState.FAILED)
    winners = [Winner(A, 0, 0.9), Winner(B, 1, 0.8)]
    found = confirmed(winners, [*trained(A, 0.99), failed, failed, *trained(B, 0.1)])
    assert recommended(found, MOST) == 1
    assert recommended(found[:1], MOST) is None


def test_a_choice_of_one_is_not_that_of_true() -> None:
    assert same({"x": 1, "y": 2.0}, {"y": 2, "x": 1.0})
    assert not same({"x": 1}, {"x": True})
    assert not same({"x": 1}, {"x": 1, "y": 1})


def test_the_interval_of_an_accuracy_is_wilsons() -> None:
    # Newcombe 1998, table I, method 3: 81 of 263 and 15 of 148, 0 of 20.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    for right, images in ((0, 20), (20, 20), (1, 3), (344, 360), (9_400, 10_000)):
        known = stats.binomtest(right, images).proportion_ci(0.95, method="wilson")
        assert wilson(right / images, images + 0.9) == wilson(right / images, images)
        assert wilson(right / images, images) == pytest.approx((known.low, known.high), abs=1e-12)


@pytest.mark.parametrize(
    ("accuracy", "images"), [(1.01, 9), (-0.01, 9), (math.nan, 9), (0.5, 0.5), (0.5, -3), (0.5, math.inf), (0.5, 1e300)]
)
def test_what_is_no_accuracy_of_images_has_no_interval(accuracy: float, images: float) -> None:
    assert wilson(accuracy, images) is None
