"""Search spaces in Python: ``{"lr": space.float(1e-4, 0.1, log=True), "optimizer": space.choice("sgd", "adam")}``."""

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from hpo.spec.space import Param

_PARAM: TypeAdapter[Param] = TypeAdapter(Param)


@dataclass(frozen=True, slots=True)
class Domain:
    """What a parameter may be, before it has a name."""

    fields: Mapping[str, Any]

    def named(self, name: str) -> Param:
        """The parameter of the spec. Raises pydantic's ValidationError if its bounds make no sense."""
        return _PARAM.validate_python({**self.fields, "name": name})


def float(
    low: builtins.float, high: builtins.float, *, log: bool = False, step: builtins.float | None = None
) -> Domain:
    """A real number in ``[low, high]``; with ``step`` one of low, low + step, …"""
    return Domain({"type": "float", "low": low, "high": high, "log": log, "step": step})


def int(low: builtins.int, high: builtins.int, *, log: bool = False, step: builtins.int = 1) -> Domain:
    """A whole number in ``[low, high]``; with ``step`` one of low, low + step, …"""
    return Domain({"type": "int", "low": low, "high": high, "log": log, "step": step})


def choice(*choices: bool | builtins.int | builtins.float | str) -> Domain:
    """One of ``choices``, without an order."""
    return Domain({"type": "categorical", "choices": choices})
