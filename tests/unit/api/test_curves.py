"""The drawing of a metric over a trial's epochs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dashboard.curves import HEIGHT, WIDTH, chart, ticks


def test_a_value_that_is_missing_or_not_finite_leaves_a_gap() -> None:
    drawn = chart("acc", [(1, 0.5), (2, "nan"), (3, None), (4, 0.75), (5, 0.75)], last_step=10)
    assert drawn is not None
    assert drawn.path.count("M") == 2
    assert drawn.path.count("L") == 1
    assert (drawn.gaps, drawn.newest, len(drawn.dots)) == (1, "0.75", 3)


def test_without_a_finite_value_nothing_is_drawn() -> None:
    assert chart("acc", [(1, "nan"), (2, None), (3, True)], last_step=3) is None


def test_a_cut_off_far_from_the_curve_does_not_flatten_it() -> None:
    drawn = chart("acc", [(1, 0.5), (2, 0.6)], [(1, "rung 0", 0.55), (2, "rung 1", 900.0)], last_step=2)
    assert drawn is not None
    near, far = drawn.cutoffs
    assert near.y is not None
    assert (far.y, far.label) == (None, "rung 1: cut-off 900")


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=30))
def test_every_point_lies_within_the_frame(values: list[float]) -> None:
    drawn = chart("m", list(enumerate([0.0, *values], 1)), last_step=len(values))
    assert drawn is not None
    assert all(0 <= dot.x <= WIDTH and -0.1 <= dot.y <= HEIGHT + 0.1 for dot in drawn.dots)
    assert all(0 <= mark.at <= 100 for mark in (*drawn.values, *drawn.steps))


@pytest.mark.parametrize(
    ("low", "high", "wanted"), [(0, 10, [0, 5, 10]), (0.1, 0.45, [0.2, 0.4]), (3, 3, [3]), (0, math.inf, [0])]
)
def test_ticks_are_round_numbers_in_the_range(low: float, high: float, wanted: list[float]) -> None:
    assert ticks(low, high, 2) == wanted
