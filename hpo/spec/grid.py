"""The points of a grid whose parameters have conditions or rules: listed, because no arithmetic counts them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hpo.spec.conditions import Value
from hpo.spec.rules import ROUNDING, LinearRule
from hpo.spec.space import Param

MAX_POINTS = 10**6
MAX_CELLS = 10**7  # points times parameters; 40 MB
INACTIVE = -1

Digits = NDArray[np.int32]


class GridTooLarge(ValueError):
    """More than ``MAX_POINTS`` points, or ``MAX_CELLS`` values in them, at some parameter on the way."""


def allowed_digits(
    params: Sequence[Param], forbidden: Sequence[Mapping[str, Sequence[Value]]], rules: Sequence[LinearRule]
) -> Digits:
    """The grid's points that keep all rules: [points, params], positions on each parameter's grid, -1 where inactive.

    ``params`` must be ``prepared``. Every point comes once, the last parameter turning fastest. Read-only and cached.
    Raises GridTooLarge, and ValueError if a parameter is continuous.
    """
    for param in params:
        if param.grid_size is None:
            raise ValueError(f"{param.name} is continuous: it has no grid")
    # As text, since 1, 1.0 and True are different choices but equal keys.
    key = "\n".join([*(param.model_dump_json() for param in params), repr(forbidden), repr(rules)])
    return _listed(_Grid(key, tuple(params), tuple(forbidden), tuple(rules)))


@dataclass(frozen=True)
class _Grid:
    key: str
    params: tuple[Param, ...] = field(compare=False)
    forbidden: tuple[Mapping[str, Sequence[Value]], ...] = field(compare=False)
    rules: tuple[LinearRule, ...] = field(compare=False)


@lru_cache(maxsize=8)
def _listed(grid: _Grid) -> Digits:
    place = {param.name: position for position, param in enumerate(grid.params)}
    columns: list[Digits] = []
    rows = 1
    for position, param in enumerate(grid.params):
        active = np.ones(rows, dtype=bool)
        for parent, values in (param.when or {}).items():
            active &= _among(columns[place[parent]], grid.params[place[parent]], values)
        rows = _append(columns, param, active, n_params=len(grid.params))
        # A rule is applied as soon as its last parameter is there, so that what it forbids is not multiplied.
        kept = np.ones(rows, dtype=bool)
        for clause in grid.forbidden:
            if max(place[name] for name in clause) == position:
                kept &= ~_matches(columns, grid, place, clause)
        for rule in grid.rules:
            if max(place[name] for name in rule.names) == position:
                kept &= _holds(columns, grid, place, rule)
        if not kept.all():
            columns = [column[kept] for column in columns]
            rows = int(kept.sum())
    digits = np.stack(columns, axis=1)
    digits.setflags(write=False)
    return digits


def _append(columns: list[Digits], param: Param, active: NDArray[np.bool_], *, n_params: int) -> int:
    """Multiply the rows by the parameter's values where it is active; returns the new number of rows."""
    size = param.grid_size
    assert size is not None
    n_active = int(active.sum())
    total = len(active) + n_active * (size - 1)
    if total > MAX_POINTS or total * n_params > MAX_CELLS:
        raise GridTooLarge(f"more than {min(MAX_POINTS, MAX_CELLS // n_params)} points at {param.name!r}")
    if total == len(active):  # nothing is multiplied
        columns.append(np.where(active, 0, INACTIVE).astype(np.int32))
        return total
    repeats = np.where(active, size, 1)
    source = np.repeat(np.arange(len(active)), repeats)
    digits = np.arange(total) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    digits[~active[source]] = INACTIVE
    columns[:] = [column[source] for column in columns]
    columns.append(digits.astype(np.int32))
    return total


def _among(column: Digits, param: Param, values: Iterable[Value]) -> NDArray[np.bool_]:
    return np.isin(column, [param.index(value) for value in values])  # type: ignore[arg-type]  # values of this param


def _matches(
    columns: list[Digits], grid: _Grid, place: Mapping[str, int], clause: Mapping[str, Sequence[Value]]
) -> NDArray[np.bool_]:
    found = np.ones(len(columns[0]), dtype=bool)
    for name, values in clause.items():
        found &= _among(columns[place[name]], grid.params[place[name]], values)
    return found


def _holds(columns: list[Digits], grid: _Grid, place: Mapping[str, int], rule: LinearRule) -> NDArray[np.bool_]:
    """``LinearRule.holds`` of all rows at once: exact among whole numbers, else within rounding."""
    used = [(columns[place[name]], grid.params[place[name]], c) for name, c in rule.coefficients]
    applies = np.logical_and.reduce([column != INACTIVE for column, _, _ in used])
    whole = rule.whole and all(isinstance(param.point(0), int) for _, param, _ in used)
    total = size = np.zeros(int(applies.sum()), dtype=object if whole else float)
    for column, param, coefficient in used:
        digits = column[applies]
        values = [param.point(index) for index in range(int(digits.max(initial=INACTIVE)) + 1)]
        # Python's whole numbers have no end, those of numpy have one.
        term = (
            np.array(values, dtype=object)[digits] * int(coefficient)
            if whole
            else np.array(values, dtype=float)[digits] * coefficient
        )
        total, size = total + term, size + abs(term)
    excess = total - (int(rule.bound) if whole else rule.bound)
    slack = 0 if whole else ROUNDING * (size + abs(rule.bound))
    kept = np.ones(len(applies), dtype=bool)
    kept[applies] = excess < -slack if rule.strict else excess <= slack
    return kept
