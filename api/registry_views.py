"""What can be named in a study's specification, told from the models that read it.

Models stay as they are while a process lives, and the schemas of all trainers take 130 ms to make: they are kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from api.schemas.registry import EntryRead, RangeRead, TrainerRead
from hpo.spec.pruners import PrunerSpec
from hpo.spec.samplers import SamplerSpec
from hpo.spec.schedulers import SchedulerSpec
from models.catalog import TRAINERS, TrainerInfo
from models.config_base import TrainerConfig

_NUMBERS = {"number": "float", "integer": "int"}


@cache
def samplers() -> tuple[EntryRead, ...]:
    return _entries(SamplerSpec)


@cache
def schedulers() -> tuple[EntryRead, ...]:
    return _entries(SchedulerSpec)


@cache
def rules() -> tuple[EntryRead, ...]:
    return _entries(PrunerSpec)


def trainers(installed: Sequence[str]) -> tuple[TrainerRead, ...]:
    """Ladder's own, then those of installed packages, whose configuration only they know."""
    theirs = (
        TrainerRead(
            name=name,
            summary="An installed package's trainer; its package checks the configuration.",
            schema={"type": "object"},
            installed=True,
            metrics=[],
            test_metrics=[],
            chosen_by=None,
            tunable=[],
        )
        for name in sorted(installed)
    )
    return (*_own_trainers(), *theirs)


@cache
def _own_trainers() -> tuple[TrainerRead, ...]:
    return tuple(_trainer(name, info) for name, info in TRAINERS.items())


def _entries(union: Any) -> tuple[EntryRead, ...]:
    """One for each model of a discriminated union."""
    return tuple(
        EntryRead(name=model.model_fields["type"].default, summary=_summary(model), schema=model.model_json_schema())
        for model in _models(union)
    )


def _models(union: Any) -> Iterator[type[BaseModel]]:
    alternatives, *_ = get_args(union)  # Annotated[A | B, …]
    yield from get_args(alternatives)


def _summary(model: type[BaseModel]) -> str:
    """The first paragraph of what the model says of itself, or a base of it."""
    said = next(cls.__doc__ for cls in model.__mro__ if cls.__doc__)
    return " ".join(said.split("\n\n")[0].split())


def _trainer(name: str, info: TrainerInfo) -> TrainerRead:
    return TrainerRead(
        name=name,
        summary=_summary(info.config),
        schema=info.json_schema(),
        installed=False,
        metrics=list(info.metrics),
        test_metrics=list(info.test_metrics),
        chosen_by=info.chosen_by or None,
        variants=sorted(info.variants),
        tunable=_tunable(info),
    )


def _tunable(info: TrainerInfo) -> list[RangeRead]:
    """Entries that may differ from trial to trial, and have a type that a search space knows."""
    kinds: Mapping[str, type[TrainerConfig]] = info.variants or {"": info.config}
    owners: dict[str, list[str]] = {}
    schemas: dict[str, dict[str, Any]] = {}
    for variant, kind in kinds.items():
        for entry, schema in kind.model_json_schema()["properties"].items():
            owners.setdefault(entry, []).append(variant)
            schemas.setdefault(entry, schema)
    ranges = []
    for entry, schema in sorted(schemas.items()):
        if entry in info.common:
            continue
        if entry == info.chosen_by:
            default = info.config.model_fields[entry].default
            schema = {"enum": sorted(info.variants), "default": default}
        only_of = None if len(owners[entry]) == len(kinds) else sorted(owners[entry])
        ranges.append(_range(entry, schema, mutable=entry in info.mutable, only_of=only_of))
    return [one for one in ranges if one is not None]


def _range(name: str, schema: dict[str, Any], *, mutable: bool, only_of: list[str] | None) -> RangeRead | None:
    """None for what no parameter of a search space can be: lists, paths, objects."""
    told = {"name": name, "default": schema.get("default"), "mutable": mutable, "only_of": only_of}
    for one in schema.get("anyOf", [schema]):
        if "enum" in one:
            return RangeRead(type="categorical", choices=one["enum"], **told)
        if one.get("type") == "boolean":
            return RangeRead(type="categorical", choices=[False, True], **told)
        if one.get("type") in _NUMBERS:
            low, high = one.get("minimum"), one.get("maximum")
            return RangeRead(
                type=_NUMBERS[one["type"]],
                low=one.get("exclusiveMinimum", low),
                high=one.get("exclusiveMaximum", high),
                low_excluded="exclusiveMinimum" in one,
                high_excluded="exclusiveMaximum" in one,
                **told,
            )
    return None
