import numpy as np
import pytest

from hpo.space.space import Space, grid_point, grid_size, problems
from hpo.space.values import choice_index, complaint, draw, grid_value
from hpo.spec.space import CategoricalParam, FloatParam, IntParam

LR = FloatParam(type="float", name="lr", low=1e-4, high=1e-1, log=True)
DROPOUT = FloatParam(type="float", name="dropout", low=0, high=0.4, step=0.1)
UNITS = IntParam(type="int", name="units", low=32, high=100, step=32)
MIXED = CategoricalParam(type="categorical", name="mixed", choices=(1, 1.0, True, "1"))


def test_a_stepped_float_has_all_its_points_and_ends_within_its_bounds() -> None:
    assert [grid_value(DROPOUT, index) for index in range(5)] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert grid_value(DROPOUT, 4) == 0.4
    assert DROPOUT.grid_size == 5


def test_a_stepped_int_ends_below_a_bound_that_no_step_meets() -> None:
    assert [grid_value(UNITS, index) for index in range(UNITS.grid_size)] == [32, 64, 96]


def test_a_continuous_parameter_has_no_grid() -> None:
    with pytest.raises(ValueError, match="lr is continuous"):
        grid_value(LR, 0)
    with pytest.raises(ValueError, match="lr is continuous"):
        grid_size(Space((UNITS, LR)))


def test_a_log_parameter_is_drawn_evenly_over_its_decades() -> None:
    rng = np.random.default_rng(0)
    decades = np.floor(np.log10([float(draw(LR, rng)) for _ in range(3000)]))
    counts = [int((decades == exponent).sum()) for exponent in (-4, -3, -2)]
    assert sum(counts) == 3000
    assert min(counts) > 900


def test_the_ends_of_a_log_int_get_their_share() -> None:
    rng = np.random.default_rng(0)
    param = IntParam(type="int", name="k", low=1, high=3, log=True)
    counts = np.bincount([int(draw(param, rng)) for _ in range(6000)], minlength=4)[1:] / 6000
    assert counts == pytest.approx(np.log([3, 5 / 3, 7 / 5]) / np.log(7), abs=0.03)


def test_bounds_whose_difference_overflows_are_sampled() -> None:
    huge = FloatParam(type="float", name="x", low=-1.7e308, high=1.7e308)
    values = [float(draw(huge, np.random.default_rng(seed))) for seed in range(50)]
    assert min(values) < -1e307
    assert max(values) > 1e307


@pytest.mark.parametrize(
    ("value", "index"), [(1, 0), (1.0, 1), (True, 2), ("1", 3), (False, None), (2, None), ("x", None)]
)
def test_choices_of_equal_value_are_told_apart_by_type(value: float | str, index: int | None) -> None:
    assert choice_index(MIXED, value) == index


def test_a_number_finds_its_choice_in_another_type_if_it_has_none_of_its_own() -> None:
    # A JSON store may hand 1e16 back as a whole number.
    param = CategoricalParam(type="categorical", name="c", choices=(1e16, 0.5))
    assert choice_index(param, 10**16) == 0
    assert choice_index(param, True) is None


def test_a_value_within_rounding_of_a_step_is_accepted_and_one_between_steps_is_not() -> None:
    assert complaint(DROPOUT, 0.1 + 0.2) is None
    assert complaint(DROPOUT, 0.25) == "must be 0 plus a multiple of 0.1, got 0.25"


def test_problems_name_each_parameter_that_is_wrong_missing_or_unknown() -> None:
    found = problems(
        Space((LR, DROPOUT, UNITS, MIXED)), {"lr": float("nan"), "dropout": "high", "mixed": 2, "momentum": 0.9}
    )
    assert [(error.pointer, error.code) for error in found] == [
        ("/momentum", "unknown_parameter"),
        ("/lr", "value_not_in_space"),
        ("/dropout", "value_not_in_space"),
        ("/units", "missing_parameter"),
        ("/mixed", "value_not_in_space"),
    ]
    assert "[0.0001, 0.1]" in found[1].message


def test_bools_are_no_numbers() -> None:
    assert complaint(UNITS, True) is not None
    assert complaint(LR, True) is not None


def test_the_last_parameter_of_a_grid_turns_fastest() -> None:
    points = [tuple(grid_point(Space((UNITS, DROPOUT)), index).values()) for index in (0, 1, 5, 14)]
    assert points == [(32, 0.0), (32, 0.1), (64, 0.0), (96, 0.4)]
    assert grid_size(Space((UNITS, DROPOUT))) == 15
