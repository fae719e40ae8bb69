"""What a user may search over: one model per kind of parameter. Sampling and encoding live in ``hpo/space``."""

import math
import sys
from collections.abc import Hashable, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from hpo.spec.base import SpecModel, Text, refuse

ParamName = Annotated[Text, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,99}$")]
Number = StrictInt | StrictFloat
MAX_PARAMS = 200
MAX_CHOICES = 1_000
MAX_CHOICES_IN_ALL = 10_000
MAX_PARENTS = 16
Choice = StrictBool | StrictInt | StrictFloat | Annotated[StrictStr, Field(max_length=500)]


def _several(given: Any) -> Any:
    return given if isinstance(given, (list, tuple)) else (given,)


# One value or a list of them; kept as a tuple.
Values = Annotated[
    tuple[Choice, ...],
    Field(min_length=1, max_length=MAX_CHOICES),
    BeforeValidator(_several, json_schema_input_type=Choice | tuple[Choice, ...]),
]
When = Annotated[
    dict[ParamName, Values],
    Field(
        min_length=1,
        max_length=MAX_PARENTS,
        description="values of other parameters under which this one is active; all entries must hold",
    ),
]
Default = Annotated[Choice | None, Field(description="what trials from before the parameter was added count as having")]


class FloatParam(SpecModel):
    """A real number in ``[low, high]``, uniform or log-uniform; with ``step`` one of low, low + step, …"""

    type: Literal["float"]
    name: ParamName
    low: Number
    high: Number
    log: StrictBool = False
    step: Annotated[Number, Field(gt=0)] | None = None
    when: When | None = None
    default: Default = None

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        _check_bounds(self.low, self.high, self.log)
        if max(-self.low, self.high) > sys.float_info.max:  # a JSON integer has no end
            raise refuse("out_of_range", f"low and high must lie within ±{sys.float_info.max:.3g}", field="high")
        if self.step is not None:
            if self.log:
                raise refuse("log_with_step", "step cannot be combined with log: give one of them", field="step")
            if self.step > self.high - self.low:
                message = f"step must be at most high - low = {self.high - self.low}, got {self.step}"
                raise refuse("step_too_large", message, field="step")
            if (self.high - self.low) / self.step > 2**53:  # beyond, neighbours on the grid are the same float
                raise refuse("step_too_small", f"step must leave at most 2^53 points, got {self.step}", field="step")
        _check_default(self.default, self.complaint(self.default))
        return self

    @property
    def grid_size(self) -> int | None:
        """Number of points on a grid; None if the parameter is continuous."""
        # The quotient of two decimals such as 0.4 / 0.1 lands just under the whole number: allow for the rounding.
        return None if self.step is None else math.floor((self.high - self.low) / self.step + 1e-9) + 1

    def point(self, index: int) -> float:
        """The ``index``-th point of the grid. Raises ValueError if the parameter is continuous."""
        if self.step is None:
            raise ValueError(f"{self.name} is continuous: it has no grid")
        return min(max(float(self.low + index * self.step), float(self.low)), float(self.high))

    def index(self, value: float) -> int:
        """Position on the grid of the point nearest to ``value``. Raises ValueError if the parameter is continuous."""
        if self.step is None:
            raise ValueError(f"{self.name} is continuous: it has no grid")
        return round((value - self.low) / self.step)

    def complaint(self, value: object) -> str | None:
        """What is wrong with a given value, as a sentence; None if it may be used."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"must be a number in [{self.low}, {self.high}], got {value!r}"
        if not self.low <= value <= self.high:  # False for a NaN, too
            return f"must lie in [{self.low}, {self.high}], got {value!r}"
        if self.step is not None:
            index = self.index(value)
            # Beyond rounding only: 0.1 + 0.2 is meant to be 0.3.
            if abs(value - self.point(index)) > 1e-6 * self.step or index >= (self.grid_size or 0):
                return f"must be {self.low} plus a multiple of {self.step}, got {value!r}"
        return None


class IntParam(SpecModel):
    """A whole number in ``[low, high]``, uniform or log-uniform; with ``step`` one of low, low + step, …"""

    type: Literal["int"]
    name: ParamName
    low: StrictInt
    high: StrictInt
    log: StrictBool = False
    step: Annotated[StrictInt, Field(ge=1)] = 1
    when: When | None = None
    default: Default = None

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        _check_bounds(self.low, self.high, self.log)
        if abs(self.low) > 2**53 or abs(self.high) > 2**53:
            field = "low" if abs(self.low) > 2**53 else "high"
            raise refuse("out_of_range", "low and high must lie within ±2^53", field=field)
        if self.log and self.step != 1:
            raise refuse("log_with_step", "step cannot be combined with log: give one of them", field="step")
        if self.step > self.high - self.low:
            message = f"step must be at most high - low = {self.high - self.low}, got {self.step}"
            raise refuse("step_too_large", message, field="step")
        _check_default(self.default, self.complaint(self.default))
        return self

    @property
    def grid_size(self) -> int:
        return (self.high - self.low) // self.step + 1

    def point(self, index: int) -> int:
        return self.low + index * self.step

    def index(self, value: int) -> int:
        return (value - self.low) // self.step

    def complaint(self, value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return f"must be a whole number in [{self.low}, {self.high}], got {value!r}"
        if not self.low <= value <= self.high:
            return f"must lie in [{self.low}, {self.high}], got {value!r}"
        if (value - self.low) % self.step:
            return f"must be {self.low} plus a multiple of {self.step}, got {value!r}"
        return None


class CategoricalParam(SpecModel):
    """One of a list of values; ``ordered`` if the list runs from one end to the other, as small, medium, large."""

    type: Literal["categorical"]
    name: ParamName
    choices: Annotated[tuple[Choice, ...], Field(min_length=1, max_length=MAX_CHOICES)]
    ordered: StrictBool = False
    when: When | None = None
    default: Default = None

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        seen = set()
        for choice in self.choices:
            if (type(choice), choice) in seen:
                raise refuse("duplicate_choice", f"choices must be distinct, got {choice!r} twice", field="choices")
            seen.add((type(choice), choice))
        _check_default(self.default, self.complaint(self.default))
        return self

    @property
    def grid_size(self) -> int:
        return len(self.choices)

    def point(self, index: int) -> bool | int | float | str:
        return self.choices[index]

    def index(self, value: bool | int | float | str) -> int:
        """Raises ValueError if ``value`` is no choice."""
        found = choice_index(self.choices, value)
        if found is None:
            raise ValueError(f"{value!r} is no choice of {self.name}")
        return found

    def complaint(self, value: object) -> str | None:
        if isinstance(value, (bool, int, float, str)) and choice_index(self.choices, value) is not None:
            return None
        shown = ", ".join(repr(choice) for choice in self.choices[:10]) + (", …" if len(self.choices) > 10 else "")
        return f"must be one of {shown}, got {value!r}"


class FixedParam(SpecModel):
    """A value that is not searched: it stands in every configuration in which the parameter is active."""

    type: Literal["fixed"]
    name: ParamName
    value: Choice
    when: When | None = None

    @property
    def grid_size(self) -> int:
        return 1

    def point(self, index: int) -> bool | int | float | str:
        return self.value

    def index(self, value: bool | int | float | str) -> int:
        return 0

    def complaint(self, value: object) -> str | None:
        if isinstance(value, (bool, int, float, str)) and choice_index((self.value,), value) is not None:
            return None
        return f"is fixed at {self.value!r}, got {value!r}"


def choice_index(choices: Sequence[bool | int | float | str], value: bool | int | float | str) -> int | None:
    """Position of ``value`` among the choices; None if it is none of them."""
    # By type first: 1, 1.0 and True are three choices although Python calls them equal.
    for same_type in (True, False):
        for index, choice in enumerate(choices):
            alike = type(choice) is type(value) if same_type else is_number(choice) and is_number(value)
            if alike and choice == value:
                return index
    return None


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


Param = Annotated[FloatParam | IntParam | CategoricalParam | FixedParam, Field(discriminator="type")]
SearchSpace = Annotated[tuple[Param, ...], Field(min_length=1, max_length=MAX_PARAMS)]


def value_key(param: Param, value: bool | int | float | str) -> Hashable:
    """Equal for equal values of the parameter. Values that are none of its own are kept apart by type."""
    if param.complaint(value) is not None:
        return type(value).__name__, value
    if param.grid_size is None:
        return float(value)
    return param.index(value)  # type: ignore[arg-type]  # no complaint: of the parameter's own type


def _check_default(default: object, complaint: str | None) -> None:
    if default is not None and complaint is not None:
        raise refuse("default_not_in_range", f"default {complaint}", field="default")


def _check_bounds(low: float, high: float, log: bool) -> None:
    if low >= high:
        raise refuse("low_not_below_high", f"low must be below high, got low {low} and high {high}", field="low")
    if log and low <= 0:
        raise refuse("log_needs_positive", f"low must be > 0 when log is true, got {low}", field="low")
