"""A study's definition as YAML, and where it departs from what is usual."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from hpo.spec.study import StudySpec


class CoreDumper(yaml.SafeDumper):
    """SafeDumper whose text stays text for readers of YAML 1.2, too: PyYAML would leave ``1e5`` without quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


CoreDumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


def dumped(spec: Mapping[str, Any]) -> str:
    """The definition in the order of its fields; what stands for nothing is left out."""
    # Checked once more, which puts the fields in their order.
    ordered = StudySpec.model_validate(spec).model_dump(mode="json")
    return str(yaml.dump(_bare(ordered), Dumper=CoreDumper, sort_keys=False, allow_unicode=True, width=100))


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _bare(one) for name, one in value.items() if one is not None and one != {} and one != []}
    return [_bare(one) for one in value] if isinstance(value, list) else value


def differences(spec: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(field, value, default) of whatever has a default and departs from it, by the fields' order."""
    return list(_differing(StudySpec.model_validate(spec), ""))


def _differing(model: Any, at: str) -> Iterator[tuple[str, str, str]]:
    for name, field in type(model).model_fields.items():
        value, where = getattr(model, name), f"{at}{name}"
        if field.is_required():
            if hasattr(type(value), "model_fields"):
                yield from _differing(value, f"{where}.")
            continue
        default = field.get_default(call_default_factory=True)
        if value == default:
            continue
        if hasattr(type(value), "model_fields") and type(value) is type(default):
            yield from _differing(value, f"{where}.")
        else:
            yield where, _short(value), _short(default)


def _short(value: Any) -> str:
    if value in (None, "", (), {}):
        return "–"
    if hasattr(type(value), "model_fields"):
        value = _departures(value)
    elif isinstance(value, tuple):
        value = [_departures(one) if hasattr(one, "model_dump") else one for one in value]
    text = yaml.dump(
        value, Dumper=CoreDumper, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True
    )
    text = text.removesuffix("...\n").strip()
    return text if len(text) <= 200 else f"{text[:199]}…"


def _departures(model: Any) -> dict[str, Any]:
    """What a part was given, with its type, which tells it from others of its kind."""
    told: dict[str, Any] = {"type": model.type} if hasattr(model, "type") else {}
    return {**told, **model.model_dump(mode="json", exclude_defaults=True)}
