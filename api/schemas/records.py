"""What a study can be derived again from, and what its curves tell of other schedulers."""

from typing import Any

from pydantic import Field

from api.schemas.base import Out
from hpo.domain.trial import TrialState


class CurveRead(Out):
    """The curve of a trial, one entry a step; a line of ``GET /studies/{study}/curves``."""

    number: int
    params: dict[str, Any]
    state: TrialState
    steps: list[int] = Field(description="accepted, rising")
    losses: list[float | None] = Field(description="of the first objective, lower is better; null where not finite")
    seconds: list[float | None] = Field(description="that the step took; null where unknown")
    violations: list[float | None] | None = Field(
        None, description="by which outcome constraints are missed; null without any, and where a metric is missing"
    )


class WarmTrialRead(Out):
    params: dict[str, Any]
    quantile: float = Field(description="mid-rank of the loss among those of its source, in (0, 1); low is good")


class WarmStartRead(Out):
    """The trials of earlier studies that a study began with, worst first; none without a warm start."""

    resource: int | None = Field(None, description="that the sampler takes them to be trained for")
    trials: list[WarmTrialRead] = Field(default_factory=list)
