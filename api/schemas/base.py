"""What all wire models share."""

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from hpo.spec.base import MetricName, Real

PROTOCOL_VERSION = 3  # of the worker protocol; a worker with another one is refused when it registers


class In(BaseModel):
    """A request body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Out(BaseModel):
    """A response body: clients ignore fields they do not know, so that v1 can grow."""

    model_config = ConfigDict(extra="ignore")


_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def _metric_in(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a metric must be a number, got a boolean")
    if isinstance(value, str):
        if value not in _NON_FINITE:
            raise ValueError('a metric must be a number or one of "nan", "inf", "-inf"')
        return _NON_FINITE[value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError('a non-finite metric travels as one of the strings "nan", "inf", "-inf"')
    return value


def metric_out(value: float) -> float | str:
    """JSON has no NaN: a diverged trial's metric travels as a word."""
    if math.isfinite(value):
        return value
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


# Accepts numbers and the three words; inside it is a float, possibly not finite.
Metric = Annotated[
    Real,
    Field(allow_inf_nan=True),
    BeforeValidator(_metric_in),
    PlainSerializer(metric_out),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}]}),
]
Metrics = Annotated[dict[MetricName, Metric], Field(max_length=100)]


class Page(Out):
    """One page of a list; ``next_page_token`` is null on the last."""

    next_page_token: str | None = None
