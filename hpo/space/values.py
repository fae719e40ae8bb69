"""Values of one parameter: drawn at random, counted on a grid, checked."""

import math

import numpy as np

from hpo.domain.history import ParamValue
from hpo.spec.space import CategoricalParam, FixedParam, FloatParam, IntParam, Param
from hpo.spec.space import choice_index as index_of


def draw(param: Param, rng: np.random.Generator) -> ParamValue:
    """One random value, never outside the bounds."""
    if isinstance(param, CategoricalParam):
        return param.choices[int(rng.integers(len(param.choices)))]
    if isinstance(param, FixedParam):
        return param.value
    if param.log:
        return from_log(param, _between(*log_bounds(param), rng.random()))
    if param.grid_size is not None:
        return grid_value(param, int(rng.integers(param.grid_size)))
    return _clip(_between(float(param.low), float(param.high), rng.random()), param.low, param.high)


def draw_between(
    param: FloatParam | IntParam, low: float, high: float, *, rng: np.random.Generator
) -> float | int | None:
    """One random value of the parameter within ``[low, high]``, distributed as ``draw``; None if there is none."""
    low, high = max(low, float(param.low)), min(high, float(param.high))
    if low > high:
        return None
    if param.step is None:
        if param.log:
            return _clip(math.exp(_between(math.log(low), math.log(high), rng.random())), low, high)
        return _clip(_between(low, high, rng.random()), low, high)
    # Ends that a rule computes miss a point of the grid by rounding.
    first = max(0, math.ceil((low - param.low) / param.step - 1e-9))
    last = min((param.grid_size or 1) - 1, math.floor((high - param.low) / param.step + 1e-9))
    if first > last:
        return None
    if param.log:
        ends = math.log(param.low + first - 0.5), math.log(param.low + last + 0.5)
        return min(max(round(math.exp(_between(*ends, rng.random()))), param.low + first), param.low + last)
    return param.point(int(rng.integers(first, last + 1)))


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
    return param.point(index)


def choice_index(param: CategoricalParam, value: ParamValue) -> int | None:
    """Position of ``value`` among the choices; None if it is none of them."""
    return index_of(param.choices, value)


def complaint(param: Param, value: object) -> str | None:
    """What is wrong with a given value, as a sentence; None if it may be used."""
    return param.complaint(value)


def _between(low: float, high: float, share: float) -> float:
    # Not low + share * (high - low): the difference of two huge bounds may overflow.
    return low * (1.0 - share) + high * share


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, float(low)), float(high))
