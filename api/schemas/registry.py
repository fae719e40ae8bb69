"""What a study can be made of: trainers, samplers, schedulers and stopping rules, with the schema of their settings."""

from typing import Any, Literal

from pydantic import Field

from api.schemas.base import Out


class EntryRead(Out):
    name: str = Field(description="the `type` that a study's specification names it by")
    summary: str
    schema_: dict[str, Any] = Field(alias="schema", description="JSON Schema of its part of the specification")


class EntryList(Out):
    items: list[EntryRead]


class RangeRead(Out):
    """An entry of a trainer's configuration that a search space may name."""

    name: str
    type: Literal["float", "int", "categorical"] = Field(description="float, int or categorical")
    low: float | None = None
    high: float | None = None
    low_excluded: bool = False
    high_excluded: bool = False
    choices: list[Any] | None = None
    default: Any = None
    mutable: bool = Field(description="may change while a trial is trained, as population based training does")
    only_of: list[str] | None = Field(None, description="the variants that have it; null: all")


class TrainerRead(EntryRead):
    installed: bool = Field(description="an installed package's, whose settings are its own")
    metrics: list[str] = Field(description="reported every step; empty where its package decides")
    test_metrics: list[str] = Field(description="that a confirmation's last report adds")
    chosen_by: str | None = Field(None, description="the entry that names the variant")
    variants: list[str] = Field(default_factory=list)
    tunable: list[RangeRead]


class TrainerList(Out):
    items: list[TrainerRead]
