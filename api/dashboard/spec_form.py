"""A study's specification as the fields of a form; ``spec_sent`` reads them back.

Each input is named by the JSON pointer of what it stands for, after a letter that says how its text is read: ``t`` as
it is, ``y`` as a YAML value, ``l`` as a list and ``m`` as a mapping without their brackets.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from api.dashboard.spec_parts import BLANK, PARAMS, Json, config_schema, entries, variants
from api.dashboard.spec_text import CoreDumper
from hpo.domain.errors import FieldError
from hpo.spec.study import EXTERNAL
from models.catalog import TRAINERS

FORMED = (
    "name",
    "description",
    "objectives",
    "constraints",
    "search_space",
    "sampler",
    "scheduler",
    "trainer",
    "budget",
)


@dataclass(frozen=True, slots=True)
class Field:
    """One input. ``kind`` is the letter of its name; with ``options`` it is a choice among them."""

    pointer: str
    label: str
    kind: str
    text: str
    errors: Sequence[str]
    options: Sequence[str] = ()
    default: str = ""
    help: str = ""
    redraws: bool = False  # another value brings other fields
    suggest: str = ""

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.pointer}"


@dataclass(frozen=True, slots=True)
class Row:
    pointer: str
    fields: Sequence[Field]
    errors: Sequence[str]


@dataclass(frozen=True, slots=True)
class Drawn:
    """The whole form; ``errors`` are those that no field has."""

    head: Sequence[Field]
    rows: Mapping[str, Sequence[Row]]
    lists: Mapping[str, Sequence[str]]  # errors of a list as a whole
    sampler: Sequence[Field]
    scheduler: Sequence[Field]
    trainer: Sequence[Field]
    config: Sequence[Field]
    resources: Sequence[Field]
    budget: Sequence[Field]
    extra: str
    errors: Sequence[FieldError]
    summaries: Mapping[str, str]


class _Errors:
    """Hands each error to the first that asks for its place."""

    def __init__(self, errors: Iterable[FieldError]) -> None:
        self.left = list(errors)

    def at(self, pointer: str) -> list[str]:
        mine = [one for one in self.left if one.pointer == pointer or one.pointer.startswith(f"{pointer}/")]
        self.left = [one for one in self.left if one not in mine]
        return [one.message for one in mine]


def draw(spec: Json, errors: Sequence[FieldError], installed: Sequence[str]) -> Drawn:
    """The form of what may not be right yet."""
    taken = _Errors(errors)
    head = [
        _field(spec, "/name", "Name", "t", taken),
        _field(spec, "/description", "Description", "t", taken),
    ]
    rows = {name: list(_rows(spec, name, taken)) for name in BLANK}
    trainer = _part(spec, "trainer")
    names = [*TRAINERS, EXTERNAL, *installed]
    summaries = {}
    parts: dict[str, list[Field]] = {}
    for name, kinds in entries():
        part = _part(spec, name)
        kind = part.get("type", "auto")
        chosen = next((one for one in kinds if one.name == kind), None)
        options = [one.name for one in kinds]
        parts[name] = [_field(spec, f"/{name}/type", name.capitalize(), "t", taken, options=options, redraws=True)]
        if chosen is not None:
            summaries[name] = chosen.summary
            skip = ("type", "resource", "picked", "why")
            parts[name] += list(_of_schema(spec, f"/{name}", chosen.schema_, taken, skip))
    known = config_schema(trainer)
    if known is None:
        config = [_field(spec, "/trainer/config", "Configuration", "m", taken, help="entry: value, entry: value")]
    else:
        config = list(_of_schema(spec, "/trainer/config", {"properties": known}, taken, (), variants(trainer)))
    resources = [
        _field(spec, "/trainer/resources/queue", "Queue", "t", taken, default="cpu"),
        _field(spec, "/trainer/resources/gpus", "GPUs", "y", taken, default="0"),
        _field(spec, "/trainer/timeout_s", "Seconds without progress at most", "y", taken, default="no bound"),
    ]
    return Drawn(
        head=head,
        rows=rows,
        lists={name: taken.at(f"/{name}") for name in BLANK},
        sampler=parts["sampler"],
        scheduler=parts["scheduler"],
        trainer=[_field(spec, "/trainer/name", "Trainer", "t", taken, options=names, redraws=True)],
        config=config,
        resources=resources,
        budget=list(_budget(spec, taken)),
        extra=text_of({name: value for name, value in spec.items() if name not in FORMED and name != "start"}),
        errors=taken.left,
        summaries=summaries,
    )


def _rows(spec: Json, name: str, taken: _Errors) -> Iterator[Row]:
    rows = spec.get(name)
    for index, row in enumerate(rows if isinstance(rows, list) else ()):
        at = f"/{name}/{index}"
        fields = list(_ROWS[name](spec, at, row if isinstance(row, dict) else {}, taken))
        yield Row(at, fields, taken.at(at))


def _objective(spec: Json, at: str, row: Json, taken: _Errors) -> Iterator[Field]:
    yield _field(spec, f"{at}/metric", "Metric", "t", taken, suggest="metrics")
    yield _field(spec, f"{at}/direction", "Direction", "t", taken, options=("maximize", "minimize"))
    yield _field(spec, f"{at}/goal", "Goal", "y", taken, default="none")


def _constraint(spec: Json, at: str, row: Json, taken: _Errors) -> Iterator[Field]:
    yield _field(spec, f"{at}/metric", "Metric", "t", taken, suggest="metrics")
    yield _field(spec, f"{at}/op", "Bound", "t", taken, options=("<=", ">="))
    yield _field(spec, f"{at}/value", "Value", "y", taken)


def _param(spec: Json, at: str, row: Json, taken: _Errors) -> Iterator[Field]:
    yield _field(spec, f"{at}/name", "Name", "t", taken, suggest="tunable")
    kind = row.get("type")
    yield _field(spec, f"{at}/type", "Type", "t", taken, options=tuple(PARAMS), redraws=True)
    if kind in ("float", "int"):
        yield _field(spec, f"{at}/low", "Low", "y", taken)
        yield _field(spec, f"{at}/high", "High", "y", taken)
        yield _field(spec, f"{at}/log", "Log", "y", taken, options=("", "true"), default="no")
        yield _field(spec, f"{at}/step", "Step", "y", taken, default="1" if kind == "int" else "none")
    elif kind == "categorical":
        yield _field(spec, f"{at}/choices", "Choices", "l", taken, help="a, b, c")
        yield _field(spec, f"{at}/ordered", "Ordered", "y", taken, options=("", "true"), default="no")
    elif kind == "fixed":
        yield _field(spec, f"{at}/value", "Value", "y", taken)
    yield _field(spec, f"{at}/when", "Only when", "m", taken, default="always", help="optimizer: sgd")
    if "default" in row:
        yield _field(spec, f"{at}/default", "Default", "y", taken)


_ROWS = {"objectives": _objective, "constraints": _constraint, "search_space": _param}


def _budget(spec: Json, taken: _Errors) -> Iterator[Field]:
    for name, label, default in (
        ("max_trials", "Trials", "100"),
        ("max_concurrent", "At once", "no bound"),
        ("max_failed", "Failed at most", "20"),
        ("max_epochs", "Epochs in all", "no bound"),
        ("max_gpu_hours", "GPU hours", "no bound"),
        ("max_wall_s", "Seconds of wall time", "no bound"),
    ):
        yield _field(spec, f"/budget/{name}", label, "y", taken, default=default)


def _of_schema(
    spec: Json, at: str, schema: Json, taken: _Errors, skip: Sequence[str], variants: Mapping[str, Sequence[str]] = {}
) -> Iterator[Field]:
    """A field for each entry of a JSON Schema of an object."""
    for name, told in schema["properties"].items():
        if name in skip:
            continue
        label = name.replace("_", " ")
        default = "" if told.get("default") is None else _shown(told["default"], "y")
        required = name in schema.get("required", ())
        kind, options = _kind(told)
        if name in variants:
            options, kind = ("", *variants[name]), "t"
        yield _field(
            spec,
            f"{at}/{name}",
            label + (" *" if required else ""),
            kind,
            taken,
            options=options,
            default=default,
            help=told.get("description", ""),
            redraws=name in variants,
        )


def _kind(told: Json) -> tuple[str, Sequence[str]]:
    alternatives = [one for one in told.get("anyOf", [told]) if one.get("type") != "null"]
    if len(alternatives) == 1:
        (only,) = alternatives
        if "enum" in only:
            return "t", ("", *(str(one) for one in only["enum"]))
        if only.get("type") == "boolean":
            return "y", ("", "true", "false")
        if only.get("type") == "string":
            return "t", ()
    return "y", ()


def _part(spec: Json, name: str) -> Json:
    part = spec.get(name)
    return part if isinstance(part, dict) else {}


def _field(spec: Json, pointer: str, label: str, kind: str, taken: _Errors, **more: Any) -> Field:
    return Field(pointer, label, kind, _shown(_at(spec, pointer), kind), taken.at(pointer), **more)


def _at(spec: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        if isinstance(spec, dict):
            spec = spec.get(part)
        elif isinstance(spec, list) and part.isdecimal() and int(part) < len(spec):
            spec = spec[int(part)]
        else:
            return None
    return spec


def _shown(value: Any, kind: str) -> str:
    """The text that ``parse`` reads as this value again."""
    if value is None:
        return ""
    if kind == "t" and isinstance(value, str):
        return value
    text = str(
        yaml.dump(value, Dumper=CoreDumper, default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False)
    ).strip()
    text = text.removesuffix("...").strip()
    bare = (kind == "l" and isinstance(value, list)) or (kind == "m" and isinstance(value, dict))
    return text[1:-1] if bare else text


def text_of(spec: Json) -> str:
    """A specification as YAML, in the order of its fields; nothing for an empty one."""
    if not spec:
        return ""
    return str(yaml.dump(spec, Dumper=CoreDumper, sort_keys=False, allow_unicode=True, width=100))
