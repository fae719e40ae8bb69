import pytest
from pydantic import ValidationError

from hpo.spec.space import FloatParam


@pytest.mark.parametrize(
    ("low", "high", "step", "code"),
    [
        (0, 10**400, None, "out_of_range"),
        (-(10**400), 0, None, "out_of_range"),
        (0, 1.5, 1e-300, "step_too_small"),
        (-1.7e308, 1.7e308, 1.0, "step_too_small"),
    ],
    ids=["high beyond floats", "low beyond floats", "tiny step", "huge range"],
)
def test_a_float_range_that_no_float_can_count_is_refused(
    low: float, high: float, step: float | None, code: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        FloatParam(type="float", name="x", low=low, high=high, step=step)
    assert refused.value.errors()[0]["type"] == code
