"""A form of a specification as it was sent, read back. Each input is named as ``spec_form.Field`` names it."""

from collections.abc import Iterable, Sequence
from typing import Any

from api.dashboard.spec_parts import BLANK, PARAMS, Json, config_schema, entries
from hpo.domain.errors import FieldError, Malformed
from hpo.spec.source import NotYaml, read

PARTS = ("sampler", "scheduler", "trainer", "budget")
MAX_DEPTH = 6


def parse(items: Iterable[tuple[str, str]]) -> tuple[Json, list[FieldError]]:
    """What the inputs say; an empty one says nothing. Errors are of texts that are no YAML. Raises Malformed."""
    tree: Json = {}
    errors: list[FieldError] = []
    for name, text in items:
        kind, _, pointer = name.partition(":")
        if kind not in ("t", "y", "l", "m") or not pointer.startswith("/") or not text.strip():
            continue
        try:
            value = text if kind == "t" else read(_bracketed(kind, text.strip())).data
        except NotYaml as error:
            errors.append(FieldError(pointer, "not_yaml", f"cannot be read: {error.problem}, got {text[:60]!r}"))
            value = text
        _put(tree, pointer.split("/")[1:], value)
    for name in BLANK:
        if name in tree:
            rows = tree[name]
            if not (isinstance(rows, dict) and all(isinstance(row, dict) for row in rows.values())):
                raise Malformed(f"the form has {name} that are no rows of fields")
            tree[name] = [rows[index] for index in sorted(rows, key=_index)]
    for name in PARTS:
        if not isinstance(tree.get(name, {}), dict):
            raise Malformed(f"the form has a {name} without fields")
    return _fitting(tree), errors


def _bracketed(kind: str, text: str) -> str:
    opening = {"l": "[", "m": "{"}.get(kind, "")
    return text if not opening or text.startswith(opening) else opening + text + {"[": "]", "{": "}"}[opening]


def _index(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and len(text) < 5):
        raise Malformed(f"the form has no row {text[:20]!r}")
    return int(text)


def _put(tree: Json, path: Sequence[str], value: Any) -> None:
    *parents, last = path
    at = tree
    for part in parents[:MAX_DEPTH]:
        at = at.setdefault(part, {})
        if not isinstance(at, dict):
            raise Malformed("the form has a field twice")
    at[last] = value


def _fitting(spec: Json) -> Json:
    """Without the fields of a type that was chosen before."""
    for row in spec.get("search_space", ()):
        model = PARAMS.get(str(row.get("type")))
        for name in [name for name in row if model is not None and name not in model.model_fields]:
            del row[name]
    for name, kinds in entries():
        part = spec.get(name, {})
        known = next((one.schema_["properties"] for one in kinds if one.name == part.get("type")), None)
        for entry in [entry for entry in part if known is not None and entry not in known]:
            del part[entry]
    trainer = spec.get("trainer", {})
    config, known = trainer.get("config"), config_schema(trainer)
    if isinstance(config, dict) and known is not None:
        trainer["config"] = {name: value for name, value in config.items() if name in known}
    return spec


def change(spec: Json, what: str) -> None:
    """Add an empty row to a list or take one out: ``add:search_space``, ``remove:search_space/2``."""
    verb, _, where = what.partition(":")
    name, _, index = where.partition("/")
    if name not in BLANK or verb not in ("add", "remove"):
        raise Malformed(f"the form has no button {what[:40]!r}")
    rows = spec.setdefault(name, [])
    if not isinstance(rows, list):
        raise Malformed(f"the form has {name} that are no rows of fields")
    if verb == "add":
        rows.append(dict(BLANK[name]))
    elif _index(index) < len(rows):
        del rows[_index(index)]
