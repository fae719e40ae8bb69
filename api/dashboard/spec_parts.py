"""What a form of a specification is made of: its rows, and the entries that each chosen kind has."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel

from api.registry_views import samplers, schedulers
from api.schemas.registry import EntryRead
from hpo.spec.base import SpecModel
from hpo.spec.space import CategoricalParam, FixedParam, FloatParam, IntParam
from models.catalog import TRAINERS
from models.job import InvalidConfig

Json = dict[str, Any]
BLANK: dict[str, Json] = {
    "objectives": {"direction": "maximize"},
    "constraints": {"op": "<="},
    "search_space": {"type": "float"},
}
PARAMS: dict[str, type[SpecModel]] = {
    "float": FloatParam,
    "int": IntParam,
    "categorical": CategoricalParam,
    "fixed": FixedParam,
}


def entries() -> tuple[tuple[str, tuple[EntryRead, ...]], ...]:
    return ("sampler", samplers()), ("scheduler", schedulers())


def config_schema(trainer: Json) -> Json | None:
    """The entries that a trainer's configuration may have; None where only its package knows."""
    info = TRAINERS.get(str(trainer.get("name", "")))
    if info is None:
        return None
    config = trainer.get("config")
    try:
        kind = info.kind(config if isinstance(config, dict) else {})
    except InvalidConfig:
        kind = info.config
    found: Json = dict(_schema_of(kind))
    if info.chosen_by:  # the variant stands first: it decides on the others
        found = {info.chosen_by: {**found.get(info.chosen_by, {}), "type": "string"}, **found}
    return found


def variants(trainer: Json) -> Mapping[str, Sequence[str]]:
    info = TRAINERS.get(str(trainer.get("name", "")))
    return {info.chosen_by: sorted(info.variants)} if info is not None and info.chosen_by else {}


@cache
def _schema_of(kind: type[BaseModel]) -> Json:
    found: Json = kind.model_json_schema()["properties"]
    return found
