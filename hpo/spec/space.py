"""What a user may search over: one model per kind of parameter. Sampling and encoding live in ``hpo/space``."""

import math
import sys
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from hpo.spec.base import SpecModel, Text, refuse

ParamName = Annotated[Text, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,99}$")]
Number = StrictInt | StrictFloat
MAX_PARAMS = 200
MAX_CHOICES = 1_000
MAX_CHOICES_IN_ALL = 10_000


class FloatParam(SpecModel):
    """A real number in ``[low, high]``, uniform or log-uniform; with ``step`` one of low, low + step, …"""

    type: Literal["float"]
    name: ParamName
    low: Number
    high: Number
    log: StrictBool = False
    step: Annotated[Number, Field(gt=0)] | None = None

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
        return self

    @property
    def grid_size(self) -> int | None:
        """Number of points on a grid; None if the parameter is continuous."""
        # The quotient of two decimals such as 0.4 / 0.1 lands just under the whole number: allow for the rounding.
        return None if self.step is None else math.floor((self.high - self.low) / self.step + 1e-9) + 1


class IntParam(SpecModel):
    """A whole number in ``[low, high]``, uniform or log-uniform; with ``step`` one of low, low + step, …"""

    type: Literal["int"]
    name: ParamName
    low: StrictInt
    high: StrictInt
    log: StrictBool = False
    step: Annotated[StrictInt, Field(ge=1)] = 1

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
        return self

    @property
    def grid_size(self) -> int:
        return (self.high - self.low) // self.step + 1


class CategoricalParam(SpecModel):
    """One of a list of values without an order."""

    type: Literal["categorical"]
    name: ParamName
    choices: Annotated[
        tuple[StrictBool | StrictInt | StrictFloat | Annotated[StrictStr, Field(max_length=500)], ...],
        Field(min_length=1, max_length=MAX_CHOICES),
    ]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        seen = set()
        for choice in self.choices:
            if (type(choice), choice) in seen:
                raise refuse("duplicate_choice", f"choices must be distinct, got {choice!r} twice", field="choices")
            seen.add((type(choice), choice))
        return self

    @property
    def grid_size(self) -> int:
        return len(self.choices)


Param = Annotated[FloatParam | IntParam | CategoricalParam, Field(discriminator="type")]
SearchSpace = Annotated[tuple[Param, ...], Field(min_length=1, max_length=MAX_PARAMS)]


def _check_bounds(low: float, high: float, log: bool) -> None:
    if low >= high:
        raise refuse("low_not_below_high", f"low must be below high, got low {low} and high {high}", field="low")
    if log and low <= 0:
        raise refuse("log_needs_positive", f"low must be > 0 when log is true, got {low}", field="low")
