import math
import sys

from hypothesis import given
from hypothesis import strategies as st

from hpo.domain.merit import INFEASIBLE, WORST, merit

finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=5e-324, max_value=sys.float_info.max)


def test_a_feasible_loss_is_its_own_merit() -> None:
    assert [merit(loss) for loss in (-3.0, 0.0, 0.25, 1e298)] == [-3.0, 0.0, 0.25, 1e298]


@given(loss=finite, other=finite, violation=positive)
def test_feasible_comes_before_infeasible_and_that_before_whoever_ended(
    loss: float, other: float, violation: float
) -> None:
    assert merit(loss) < INFEASIBLE <= merit(other, violation) < WORST
    assert math.isfinite(merit(other, violation))


@given(loss=finite, other=finite, violation=positive)
def test_the_loss_of_an_infeasible_trial_does_not_count(loss: float, other: float, violation: float) -> None:
    assert merit(loss, violation) == merit(other, violation)


@given(a=finite, b=finite)
def test_feasible_merits_keep_the_order_of_losses(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert merit(low) <= merit(high)


@given(a=positive, b=positive)
def test_a_greater_violation_is_never_better(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert merit(0.0, low) <= merit(0.0, high)


def test_usual_violations_are_told_apart() -> None:
    found = [merit(0.0, violation) for violation in (1e-9, 0.01, 0.5, 1.0, 7.0, 1e6)]
    assert found == sorted(set(found))
