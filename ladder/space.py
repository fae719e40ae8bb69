"""Search spaces in Python: ``{"lr": space.float(1e-4, 0.1, log=True), "optimizer": space.choice("sgd", "adam")}``.

``when={"optimizer": "sgd"}`` makes a parameter active only under that value of another (or one of several, in a list);
``default`` is what trials from before the parameter was added count as having.
"""

import builtins
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from hpo.spec.space import Param

Value = bool | builtins.int | builtins.float | str
When = Mapping[str, Value | Sequence[Value]]

_PARAM: TypeAdapter[Param] = TypeAdapter(Param)


@dataclass(frozen=True, slots=True)
class Domain:
    """What a parameter may be, before it has a name."""

    fields: Mapping[str, Any]

    def named(self, name: str) -> Param:
        """The parameter of the spec. Raises pydantic's ValidationError if its bounds make no sense."""
        return _PARAM.validate_python({**self.fields, "name": name})


def float(
    low: builtins.float,
    high: builtins.float,
    *,
    log: bool = False,
    step: builtins.float | None = None,
    when: When | None = None,
    default: builtins.float | None = None,
) -> Domain:
    """A real number in ``[low, high]``; with ``step`` one of low, low + step, …"""
    return _domain("float", when, default, low=low, high=high, log=log, step=step)


def int(
    low: builtins.int,
    high: builtins.int,
    *,
    log: bool = False,
    step: builtins.int = 1,
    when: When | None = None,
    default: builtins.int | None = None,
) -> Domain:
    """A whole number in ``[low, high]``; with ``step`` one of low, low + step, …"""
    return _domain("int", when, default, low=low, high=high, log=log, step=step)


def choice(*choices: Value, ordered: bool = False, when: When | None = None, default: Value | None = None) -> Domain:
    """One of ``choices``; ``ordered`` if they run from one end to the other, as small, medium, large."""
    return _domain("categorical", when, default, choices=choices, ordered=ordered)


def fixed(value: Value, *, when: When | None = None) -> Domain:
    """A value that is not searched and stands in every configuration in which it is active."""
    return _domain("fixed", when, None, value=value)


def _domain(kind: str, when: When | None, default: Value | None, **fields: Any) -> Domain:
    given = {"when": when, "default": default}
    return Domain({"type": kind, **fields, **{name: value for name, value in given.items() if value is not None}})
