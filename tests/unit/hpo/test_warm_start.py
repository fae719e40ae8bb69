import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.domain.history import TrialRecord
from hpo.domain.trial import TrialState
from hpo.warm_start import ENOUGH, Earlier, earlier_trials, quantiles

STORED = {
    "resource": 9,
    "trials": [
        {"params": {"x": 0.1}, "quantile": 0.25},
        {"params": {"x": 0.2}, "quantile": 0.5},
        {"params": {"x": 0.3}, "quantile": 0.75},
    ],
}


def own(number: int, loss: float, *, diverged: bool = False) -> TrialRecord:
    return TrialRecord(number, {"x": 0.5}, TrialState.COMPLETE, ((9, loss),), diverged)


def test_quantiles_are_mid_ranks() -> None:
    assert quantiles([30.0, 10.0, 20.0, 40.0]) == [0.625, 0.125, 0.375, 0.875]
    assert quantiles([5.0, 5.0, 7.0, 1.0]) == [0.5, 0.5, 0.875, 0.125]
    assert quantiles([3.0]) == [0.5]


@given(losses=st.lists(st.integers(-5, 5).map(float), min_size=1))
def test_quantiles_keep_the_order_and_lie_within_their_bounds(losses: list[float]) -> None:
    found = quantiles(losses)
    assert all(0 < one < 1 for one in found)
    assert np.mean(found) == pytest.approx(0.5)
    for loss, mine in zip(losses, found, strict=True):
        assert [other < mine for other in found] == [other < loss for other in losses]


@given(losses=st.lists(st.floats(-1e6, 1e6), min_size=1, unique=True))
def test_quantiles_do_not_depend_on_the_scale(losses: list[float]) -> None:
    assert quantiles([4 * loss for loss in losses]) == quantiles(losses)


def test_stored_trials_come_before_number_0() -> None:
    records = earlier_trials(STORED)
    assert [record.number for record in records] == [-3, -2, -1]
    assert [record.losses for record in records] == [((9, 0.25),), ((9, 0.5),), ((9, 0.75),)]
    assert {record.state for record in records} == {TrialState.COMPLETE}
    assert earlier_trials(None) == []


def test_without_earlier_trials_the_history_is_handed_on_as_it_is() -> None:
    history = [own(0, 0.3)]
    assert Earlier([]).before(history) is history


def test_before_there_are_own_results_earlier_trials_are_shown_as_quantiles() -> None:
    shown = Earlier(earlier_trials(STORED)).before([own(0, 7.0), own(1, 8.0), own(2, 9.0)])
    assert [record.loss for record in shown] == [0.25, 0.5, 0.75, 7.0, 8.0, 9.0]


def test_with_own_results_earlier_trials_are_shown_on_their_scale() -> None:
    history = [own(number, 10.0 * number) for number in range(ENOUGH + 1)]
    shown = Earlier(earlier_trials(STORED)).before(history)
    assert [record.loss for record in shown[:3]] == [7.5, 15.0, 22.5]  # quantiles of 0, 10, 20, 30
    assert [record.number for record in shown] == [-3, -2, -1, 0, 1, 2, 3, 4]
    assert all(record.losses[0][0] == 9 for record in shown)


def test_the_scale_moves_only_when_the_results_have_doubled() -> None:
    earlier = Earlier(earlier_trials(STORED))
    four = earlier.before([own(number, 10.0 * number) for number in range(4)])
    seven = earlier.before([own(number, 10.0 * number) for number in range(7)])
    assert all(a is b for a, b in zip(four[:3], seven[:3], strict=True))
    eight = earlier.before([own(number, 10.0 * number) for number in range(8)])
    assert [record.loss for record in eight[:3]] == [17.5, 35.0, 52.5]


def test_what_has_no_finite_loss_is_no_part_of_the_scale() -> None:
    running = TrialRecord(4, {"x": 0.5}, TrialState.RUNNING)
    history = [own(0, 0.0), own(1, 1.0, diverged=True), own(2, 2.0), own(3, 4.0), running]
    earlier = Earlier(earlier_trials(STORED))
    assert [record.loss for record in earlier.before(history)[:3]] == [0.25, 0.5, 0.75]  # three are not enough
    assert math.isclose(earlier.before([*history, own(5, 6.0)])[1].loss, 3.0)


def test_the_answer_depends_on_the_history_alone() -> None:
    long = [own(number, float(number * 7 % 16)) for number in range(16)]
    used = Earlier(earlier_trials(STORED))
    used.before(long)
    short = long[:5]
    assert list(used.before(short)) == list(Earlier(earlier_trials(STORED)).before(short))
