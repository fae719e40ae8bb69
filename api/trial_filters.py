"""What lists of trials are asked for in words (``where``, ``order_by``, ``fields``), read for the database."""

import json
from typing import Annotated, Any, get_args

from pydantic import Field

from api.schemas.trials import TrialRead
from hpo.domain.errors import FieldError, InvalidSpec
from hpo.domain.trial import TrialState
from hpo.spec.study import StudySpec
from hpo.storage.trials import Column, Condition, Op, Order

WHERE = (
    "field:op:value, may be repeated; field is value, number, last_step, attempt, duration (seconds on device), state,"
    f" worker, params.NAME or metrics.NAME (at the newest step); op is one of {', '.join(get_args(Op))}"
)
ORDER_BY = "number, value, duration or params.NAME, with - before it for the largest first; missing values come last"
FIELDS = f"only these, separated by commas: {', '.join(TrialRead.model_fields)}"
Filter = Annotated[str, Field(max_length=1000)]
_NUMBERS: dict[str, Column] = {
    "number": "number", "last_step": "last_step", "attempt": "attempt", "duration": "device_seconds"
}  # fmt: skip
_TURNED: dict[str, Op] = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le", "eq": "eq", "ne": "ne"}


def condition(text: str, spec: StudySpec) -> Condition:
    """Raises InvalidSpec that says what is wrong with the filter."""
    if "\x00" in text or not text.isprintable():
        raise _refused("where must be printable text")
    field, first, rest = text.partition(":")
    given_op, second, given = rest.partition(":")
    if not (first and second):
        raise _refused(f"where must be field:op:value, got {text[:100]!r}")
    if given_op not in get_args(Op):
        raise _refused(f"op must be one of {', '.join(get_args(Op))}, got {given_op[:100]!r}")
    op: Op = given_op  # type: ignore[assignment]
    value = _literal(given)
    if field.startswith("params."):
        return Condition(None, _param(spec, field.removeprefix("params."), "where"), op, value)
    if field.startswith("metrics.") and len(field) > len("metrics."):
        return Condition(None, None, op, value, metric=field.removeprefix("metrics."))
    if field in ("state", "worker"):
        return _of_word(field, op, given)
    if field != "value" and field not in _NUMBERS:
        wanted = f"value, {', '.join(_NUMBERS)}, state, worker, params.NAME or metrics.NAME"
        raise _refused(f"field must be {wanted}, got {field[:100]!r}")
    if isinstance(value, str | bool):
        raise _refused(f"{field[:100]} is compared with a number, got {given[:100]!r}")
    if field == "value":
        # Stored is the loss, of which less is better: a bound from below on accuracy is one from above on it.
        turned = _TURNED[op] if spec.objective.direction == "maximize" else op
        return Condition("loss", None, turned, spec.objective.loss(value))
    return Condition(_NUMBERS[field], None, op, value)


def _of_word(field: str, op: Op, given: str) -> Condition:
    if op not in ("eq", "ne"):
        raise _refused(f"{field} is compared by eq or ne, got {op}")
    if field == "state" and given not in list(TrialState):
        raise _refused(f"state must be one of {', '.join(TrialState)}, got {given[:100]!r}")
    return Condition("state" if field == "state" else "worker", None, op, given)


def _param(spec: StudySpec, name: str, parameter: str) -> str:
    if name not in {param.name for param in spec.search_space}:
        raise _refused(f"the study has no parameter {name[:100]!r}", parameter)
    return name


def order(order_by: str, spec: StudySpec) -> Order:
    """What storage is to order by. Raises InvalidSpec."""
    field, descending = order_by.removeprefix("-"), order_by.startswith("-")
    if field == "value":
        # Stored is the loss: the largest value of what is maximised is its smallest.
        descending ^= spec.objective.direction == "maximize"
        field = "loss"
    elif field == "duration":
        field = "device_seconds"
    elif field.startswith("params."):
        _param(spec, field.removeprefix("params."), "order_by")
    elif field != "number":
        wanted = "number, value, duration or params.NAME, with - before it for the largest first"
        raise _refused(f"order_by must be {wanted}; got {order_by[:100]!r}", "order_by")
    return f"-{field}" if descending else field


def fields(text: str) -> frozenset[str]:
    """The fields of a trial that are asked for. Raises InvalidSpec for one that it has not."""
    asked = [name.strip() for name in text.split(",")]
    for name in asked:
        if name not in TrialRead.model_fields:
            raise _refused(f"fields must be some of {', '.join(TrialRead.model_fields)}; got {name[:100]!r}", "fields")
    return frozenset(asked)


def _literal(text: str) -> Any:
    """A JSON number or boolean, or else the text itself."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    finite = isinstance(value, bool) or (isinstance(value, int | float) and abs(value) < 2**63)
    return value if finite else text


def _refused(message: str, parameter: str = "where") -> InvalidSpec:
    return InvalidSpec(FieldError(f"/query/{parameter}", "bad_filter", message))
