"""What is computed from a study's trials: importances, figures, comparisons."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api.schemas.base import Out


class PairRead(Out):
    params: list[str] = Field(description="two of them")
    value: float = Field(description="share of the variance that they explain together and neither explains alone")


class ImportanceRead(Out):
    method: Literal["ped_anova", "fanova", "mdi"]
    objective: int
    n_trials: int = Field(description="that the importances are computed from")
    at_step: int | None = Field(description="after which these trials are compared; null while none has got that far")
    values: dict[str, float] = Field(description="shares that add up to 1, the greatest first; empty with a reason")
    pairs: list[PairRead] = Field(default_factory=list, description="of fanova, the strongest first")
    reason: str | None = Field(None, description="why there are no values, or what was left out")
    basis: int = Field(description="event of the study up to which trials count")
    computed_at: datetime | None = Field(description="null while nothing was computed")


class FigureMeta(Out):
    n_trials: int = Field(description="that could be shown")
    shown: int = Field(description="of them, or of their attempts; the others were left out for size")
    revision: int = Field(description="last event of the study, of several the sum")
    reason: str | None = Field(None, description="why there is nothing to draw and what to do, or what was left out")
    at_step: int | None = Field(None, description="after which the trials shown are compared; null where each is")
    params: list[str] = Field(default_factory=list, description="the parameters shown")
    sampling: str | None = Field(None, description="which trials are shown where not all are")


class Figure(Out):
    """A figure of plotly.js without title, fonts, size and template, which are the page's. Nothing in it is NaN."""

    data: list[dict[str, Any]]
    layout: dict[str, Any]
    meta: FigureMeta


class CompareItem(Out):
    study: str
    study_id: UUID
    number: int | None = Field(description="of the trial, or of the study's best one")
    state: str = Field(description="of the trial where trials are compared, else of the study")
    metric: str
    direction: Literal["maximize", "minimize"]
    value: float | None
    values: list[float] | None = Field(
        None, description="of all objectives at the newest stop, where there are several"
    )
    last_step: int | None
    trials: int = Field(description="of the study")
    epochs: int = Field(description="of the trial where trials are compared, else of the study")
    gpu_hours: float
    params: dict[str, Any]


class Comparison(Out):
    items: list[CompareItem] = Field(description="in the order asked for")
    differing: list[str] = Field(description="parameters that not all of them have at the same value")
