"""``where=field:op:value`` on lists of trials, read into conditions that the database checks."""

import json
from typing import Annotated, Any, get_args

from pydantic import Field

from hpo.domain.errors import FieldError, InvalidSpec
from hpo.spec.study import StudySpec
from hpo.storage.trials import Condition, Op

WHERE = "field:op:value, may be repeated; field is value, number, last_step, attempt or params.NAME; op is one of " + (
    ", ".join(get_args(Op))
)
Filter = Annotated[str, Field(max_length=1000)]
_COLUMNS = ("number", "last_step", "attempt")
_TURNED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le", "eq": "eq", "ne": "ne"}


def condition(text: str, spec: StudySpec) -> Condition:
    """Raises InvalidSpec that says what is wrong with the filter."""
    if "\x00" in text or not text.isprintable():
        raise _refused("where must be printable text")
    field, first, rest = text.partition(":")
    op, second, given = rest.partition(":")
    if not (first and second):
        raise _refused(f"where must be field:op:value, got {text[:100]!r}")
    if op not in get_args(Op):
        raise _refused(f"op must be one of {', '.join(get_args(Op))}, got {op[:100]!r}")
    value = _literal(given)
    if field.startswith("params."):
        name = field.removeprefix("params.")
        if name not in {param.name for param in spec.search_space}:
            raise _refused(f"the study has no parameter {name[:100]!r}")
        return Condition(None, name, op, value)  # type: ignore[arg-type]
    if isinstance(value, str | bool):
        raise _refused(f"{field[:100]} is compared with a number, got {given[:100]!r}")
    if field == "value":
        # Stored is the loss, of which less is better: a bound from below on accuracy is one from above on it.
        turned = _TURNED[op] if spec.objective.direction == "maximize" else op
        return Condition("loss", None, turned, spec.objective.loss(value))  # type: ignore[arg-type]
    if field not in _COLUMNS:
        raise _refused(f"field must be value, {', '.join(_COLUMNS)} or params.NAME, got {field[:100]!r}")
    return Condition(field, None, op, value)  # type: ignore[arg-type]


def _literal(text: str) -> Any:
    """A JSON number or boolean, or else the text itself."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    finite = isinstance(value, bool) or (isinstance(value, int | float) and abs(value) < 2**63)
    return value if finite else text


def _refused(message: str) -> InvalidSpec:
    return InvalidSpec(FieldError("/query/where", "bad_filter", message))
