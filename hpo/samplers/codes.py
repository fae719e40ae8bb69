"""A value as one number and back, without loss: what the models of the samplers are made of."""

from hpo.domain.history import ParamValue
from hpo.spec.space import CategoricalParam, FixedParam, IntParam, Param


def is_grid(param: Param) -> bool:
    """Whether the code of a value is its position among finitely many; otherwise it is the value itself."""
    if isinstance(param, (CategoricalParam, FixedParam)):
        return True
    # A whole number on a logarithmic scale stays itself: its positions would not be even on that scale.
    return param.grid_size is not None and not param.log


def encoded(param: Param, value: ParamValue) -> float | int:
    """The code of a value. Raises ValueError if it is no choice of the parameter."""
    # Positions because they come back exactly, and because 1, 1.0 and True are three choices but equal numbers.
    if isinstance(param, (CategoricalParam, FixedParam)):
        return param.index(value)
    number = int(value) if isinstance(param, IntParam) else float(value)
    return param.index(number) if is_grid(param) else number  # type: ignore[arg-type]


def decoded(param: Param, code: float | int) -> ParamValue:
    """The inverse of ``encoded``, held within the bounds."""
    if isinstance(param, (CategoricalParam, FixedParam)) or is_grid(param):
        return param.point(min(max(round(code), 0), (param.grid_size or 1) - 1))
    held = min(max(code, param.low), param.high)
    return round(held) if isinstance(param, IntParam) else float(held)
