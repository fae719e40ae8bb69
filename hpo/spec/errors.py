"""From pydantic's errors to one per field, with a pointer, what was given and what is wanted."""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from hpo.domain.errors import FieldError


def errors_of(error: ValidationError, body: Any) -> list[FieldError]:
    """The errors of a model that was read from ``body``."""
    return field_errors([{**one, "loc": ("body", *one["loc"])} for one in error.errors()], body)


def pointer(loc: Sequence[int | str], body: Any, *, absent: bool = False) -> str:
    """JSON pointer of a pydantic location into the body that was sent.

    Locations hold more than the body: tags of unions, names of validators, "[key]". What the body has not is left out,
    but for the last part of a field that is ``absent``.
    """
    parts: list[int | str] = []
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        if isinstance(body, list) and isinstance(part, int) and part < len(body):
            parts, body = [*parts, part], body[part]
        elif isinstance(body, dict):
            tag = bool(parts) and body.get("type") == part and not (last and part in body)
            if part in body and not tag:
                parts, body = [*parts, part], body[part]
            elif absent and last:
                parts.append(part)
    return _join(parts)


def _join(parts: Sequence[int | str]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _shown(given: Any) -> str:
    """What was given, as JSON where it is short."""
    if isinstance(given, dict | list | tuple):
        return "an object" if isinstance(given, dict) else "an array"
    if isinstance(given, str):
        return json.dumps(given if len(given) <= 100 else given[:100] + "…", ensure_ascii=False)
    return json.dumps(given) if given is None or isinstance(given, bool | int | float) else type(given).__name__


_PLAIN_WORDS = {
    "extra_forbidden": "unknown field",
    "missing": "this field is wanted",
    "model_attributes_type": "Input should be an object",
}


def field_errors(errors: Sequence[Any], body: Any) -> list[FieldError]:
    """Pydantic's errors as one per field, each with what was given and what is wanted."""
    found: dict[str, tuple[str, str, str]] = {}
    for error in errors:
        at = _place(error, body)
        wanted, got = _words(error)
        if at in found:  # the members of a union each say what they want
            code, first, got = found[at]
            found[at] = (code, f"{first} or {wanted.removeprefix('Input should be ')}", got)
        else:
            found[at] = (error["type"], wanted, got)
    # Pydantic counts only the good items of a list: with one refused it also says that the list is too short.
    return [
        FieldError(at, code, wanted + got)
        for at, (code, wanted, got) in found.items()
        if code != "too_short" or not any(other.startswith(f"{at}/") for other in found)
    ]


def _place(error: Any, body: Any) -> str:
    """Pointer of an error. Those of path, query and header begin with that word: the body has no such place."""
    loc, kind = error["loc"], error["type"]
    at = pointer(loc[1:], body, absent=kind == "missing") if loc[0] == "body" else _join(loc)
    field = (error.get("ctx") or {}).get("field", "type" if kind.startswith("union_tag") else None)
    return at if field is None else f"{at}/{field}"


def _words(error: Any) -> tuple[str, str]:
    """What is wanted, and what was given where the message does not say so already."""
    own = (error.get("ctx") or {}).get("text")
    if own is not None:
        return str(own), ""
    kind = error["type"]
    wanted = _PLAIN_WORDS.get(kind, str(error["msg"]).removeprefix("Value error, "))
    wanted = wanted.replace("Tuple should", "Array should").replace("tuple", "array").replace("dictionary", "object")
    said = kind in ("extra_forbidden", "missing") or kind.startswith(("union_tag", "too_")) or "got " in wanted
    return wanted, "" if said else f", got {_shown(error['input'])}"
