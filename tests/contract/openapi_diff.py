"""What an OpenAPI document has lost against an earlier one: paths, answers, fields, values, types; or demands anew.

``python -m tests.contract.openapi_diff`` takes the committed document for the new baseline, unless something is lost.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).parent
COMMITTED, BASELINE = HERE.parents[1] / "openapi.json", HERE / "openapi-v1.json"

Schema = Mapping[str, Any]
Way = Literal["sent", "answered"]
_WORDS = {"description", "title", "summary", "examples", "example", "tags"}


class Diff:
    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old, new
        self._under: set[tuple[str, str, Way]] = set()

    def lost(self) -> list[str]:
        """Each loss as a line that names its place."""
        return list(dict.fromkeys(self._paths()))

    def _paths(self) -> Iterator[str]:
        for path, operations in self._old["paths"].items():
            for method, old in operations.items():
                new = self._new["paths"].get(path, {}).get(method)
                at = f"{method.upper()} {path}"
                if new is None:
                    yield f"{at}: gone"
                else:
                    yield from self._operation(at, old, new)

    def _operation(self, at: str, old: Schema, new: Schema) -> Iterator[str]:
        before = {(one["in"], one["name"]): one for one in old.get("parameters", [])}
        now = {(one["in"], one["name"]): one for one in new.get("parameters", [])}
        for key, parameter in before.items():
            if key not in now:
                yield f"{at}: {' '.join(key)}: gone"
            else:
                yield from self._schema(f"{at}: {' '.join(key)}", parameter["schema"], now[key]["schema"], "sent")
        for key, parameter in now.items():
            if parameter.get("required") and not before.get(key, {}).get("required"):
                yield f"{at}: {' '.join(key)}: demanded"
        if new.get("requestBody", {}).get("required") and not old.get("requestBody", {}).get("required"):
            yield f"{at}: body: demanded"
        yield from self._content(f"{at}: body", old.get("requestBody", {}), new.get("requestBody", {}), "sent")
        for status, said in old["responses"].items():
            if status not in new["responses"]:
                yield f"{at}: {status}: gone"
            else:
                yield from self._content(f"{at}: {status}", said, new["responses"][status], "answered")

    def _content(self, at: str, old: Schema, new: Schema, way: Way) -> Iterator[str]:
        for kind, said in old.get("content", {}).items():
            now = new.get("content", {}).get(kind)
            if now is None:
                yield f"{at}: {kind}: gone"
            else:
                yield from self._schema(at, said.get("schema", {}), now.get("schema", {}), way)

    def _schema(self, at: str, old: Schema, new: Schema, way: Way) -> Iterator[str]:
        key = (json.dumps(old, sort_keys=True), json.dumps(new, sort_keys=True), way)
        if key in self._under:  # it is being compared further up, or was
            return
        self._under.add(key)
        old, new = _resolved(self._old, old), _resolved(self._new, new)
        if "anyOf" in old or "oneOf" in old or "anyOf" in new or "oneOf" in new:
            yield from self._alternatives(at, _kinds(old), _kinds(new), way)
            return
        if (kind := old.get("type")) is not None and new.get("type", kind) != kind:
            yield f"{at}: was {kind}, is {new['type']}"
        for value in _values(old):
            if _values(new) and value not in _values(new):
                yield f"{at}: value {value!r}: gone"
        if way == "sent" and _values(new) and not _values(old):
            yield f"{at}: only {_values(new)} taken"
        yield from self._fields(at, old, new, way)
        for part in ("items", "additionalProperties"):
            if isinstance(old.get(part), dict) and isinstance(new.get(part), dict):
                yield from self._schema(f"{at}[]", old[part], new[part], way)

    def _fields(self, at: str, old: Schema, new: Schema, way: Way) -> Iterator[str]:
        fields = new.get("properties", {})
        for name, field in old.get("properties", {}).items():
            if name not in fields:
                yield f"{at}.{name}: gone"
            else:
                yield from self._schema(f"{at}.{name}", field, fields[name], way)
        before, now = set(old.get("required", [])), set(new.get("required", []))
        # Who sends may leave out what it might before; who reads finds what it always did.
        yield from (f"{at}.{name}: demanded" for name in sorted(now - before) if way == "sent")
        yield from (f"{at}.{name}: no longer always there" for name in sorted(before - now) if way == "answered")

    def _alternatives(self, at: str, old: list[Schema], new: list[Schema], way: Way) -> Iterator[str]:
        """Every alternative that there was must still be there; which one it is now is what differs least."""
        for one in old:
            named = [other for other in new if "$ref" in one and other.get("$ref") == one["$ref"]]
            found = [list(self._again(at, one, other, way)) for other in named or new]
            yield from min(found, key=len, default=[f"{at}: an alternative is gone"])

    def _again(self, at: str, old: Schema, new: Schema, way: Way) -> Iterator[str]:
        under = set(self._under)
        yield from self._schema(at, old, new, way)
        self._under = under


def _resolved(document: Schema, schema: Schema) -> Schema:
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def _kinds(schema: Schema) -> list[Schema]:
    return list(schema.get("anyOf") or schema.get("oneOf") or [schema])


def _values(schema: Schema) -> list[Any]:
    return [schema["const"]] if "const" in schema else list(schema.get("enum", []))


def bare(value: Any, under: str = "") -> Any:
    """Without words for people, which may change at any time."""
    if isinstance(value, dict):
        named = under in ("properties", "paths", "schemas")  # keys are names there
        return {key: bare(one, key) for key, one in value.items() if named or key not in _WORDS or key == "schema"}
    return [bare(one) for one in value] if isinstance(value, list) else value


def load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def main() -> int:
    lost = Diff(load(BASELINE), load(COMMITTED)).lost() if BASELINE.exists() else []
    if lost:
        sys.stderr.write("v1 only grows; what is to go needs /api/v2:\n" + "\n".join(lost) + "\n")
        return 1
    BASELINE.write_text(json.dumps(bare(load(COMMITTED)), separators=(",", ":"), sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
