"""Values of one parameter: drawn at random, counted on a grid, checked."""

import math

import numpy as np

from hpo.domain.history import ParamValue
from hpo.spec.space import CategoricalParam, FloatParam, IntParam, Param


def draw(param: Param, rng: np.random.Generator) -> ParamValue:
    """One random value, never outside the bounds."""
    if isinstance(param, CategoricalParam):
        return param.choices[int(rng.integers(len(param.choices)))]
    if param.log:
        return from_log(param, _between(*log_bounds(param), rng.random()))
    if param.grid_size is not None:
        return grid_value(param, int(rng.integers(param.grid_size)))
    return _clip(_between(float(param.low), float(param.high), rng.random()), param.low, param.high)


def log_bounds(param: FloatParam | IntParam) -> tuple[float, float]:
    """Ends of the interval in which the logarithm of the value is uniform."""
    # A whole number stands for the interval around it, otherwise both ends would get half their share.
    half = 0.5 if isinstance(param, IntParam) else 0.0
    return math.log(param.low - half), math.log(param.high + half)


def from_log(param: FloatParam | IntParam, log_value: float) -> float | int:
    value = math.exp(log_value)
    if isinstance(param, IntParam):
        return min(max(round(value), param.low), param.high)
    return _clip(value, param.low, param.high)


def grid_value(param: Param, index: int) -> ParamValue:
    """The ``index``-th point of the parameter's grid. Raises ValueError if the parameter is continuous."""
    if isinstance(param, CategoricalParam):
        return param.choices[index]
    if isinstance(param, IntParam):
        return param.low + index * param.step
    if param.step is None:
        raise ValueError(f"{param.name} is continuous: it has no grid")
    return _clip(float(param.low + index * param.step), param.low, param.high)


def choice_index(param: CategoricalParam, value: ParamValue) -> int | None:
    """Position of ``value`` among the choices; None if it is none of them."""
    # By type first: 1, 1.0 and True are three choices although Python calls them equal.
    for same_type in (True, False):
        for index, choice in enumerate(param.choices):
            alike = type(choice) is type(value) if same_type else _both_numbers(choice, value)
            if alike and choice == value:
                return index
    return None


def complaint(param: Param, value: object) -> str | None:
    """What is wrong with a given value, as a sentence; None if it may be used."""
    if isinstance(param, FloatParam):
        return _float_complaint(param, value)
    if isinstance(param, IntParam):
        return _int_complaint(param, value)
    return _choice_complaint(param, value)


def _float_complaint(param: FloatParam, value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"must be a number in [{param.low}, {param.high}], got {value!r}"
    if not param.low <= value <= param.high:  # False for a NaN, too
        return f"must lie in [{param.low}, {param.high}], got {value!r}"
    if param.step is not None:
        index = round((value - param.low) / param.step)
        nearest = float(grid_value(param, index))
        # Beyond rounding only: 0.1 + 0.2 is meant to be 0.3.
        if abs(value - nearest) > 1e-6 * param.step or index >= (param.grid_size or 0):
            return f"must be {param.low} plus a multiple of {param.step}, got {value!r}"
    return None


def _int_complaint(param: IntParam, value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return f"must be a whole number in [{param.low}, {param.high}], got {value!r}"
    if not param.low <= value <= param.high:
        return f"must lie in [{param.low}, {param.high}], got {value!r}"
    if (value - param.low) % param.step:
        return f"must be {param.low} plus a multiple of {param.step}, got {value!r}"
    return None


def _choice_complaint(param: CategoricalParam, value: object) -> str | None:
    if isinstance(value, (bool, int, float, str)) and choice_index(param, value) is not None:
        return None
    shown = ", ".join(repr(choice) for choice in param.choices[:10]) + (", …" if len(param.choices) > 10 else "")
    return f"must be one of {shown}, got {value!r}"


def _both_numbers(one: object, other: object) -> bool:
    return all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in (one, other))


def _between(low: float, high: float, share: float) -> float:
    # Not low + share * (high - low): the difference of two huge bounds may overflow.
    return low * (1.0 - share) + high * share


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, float(low)), float(high))
