"""The search space as a matrix: codes, the unit cube, and which parameters are active where.

A row holds one configuration, a column one parameter in the order of the space (fixed ones too). ``codes`` are those of
``codes.py``; ``units`` lie in [0, 1] and are uniform where a random sample is. NaN stands for an inactive parameter.
"""

from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray

from hpo.domain.history import Params, ParamValue
from hpo.samplers.codes import decoded, encoded, is_grid
from hpo.space.space import Space
from hpo.space.values import log_bounds
from hpo.spec.space import CategoricalParam, FixedParam, FloatParam, IntParam, Param

Matrix = NDArray[np.float64]
Column = NDArray[np.float64]
ONE_HOT_UP_TO = 20  # choices; beyond, a column for each would drown the other parameters


class Cube:
    """Conversions of one space; every method is a pure function of its arguments."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.params: tuple[Param, ...] = tuple(space)
        self._scales = [_scale(param) for param in self.params]
        self._gates = [self._gate(param) for param in self.params]
        self.searched = np.array([param.grid_size != 1 for param in self.params], dtype=bool)
        self.unordered = np.array([_unordered(param) for param in self.params], dtype=bool)
        self.sizes = [param.grid_size for param in self.params]

    @property
    def width(self) -> int:
        return len(self.params)

    def row(self, params: Params) -> list[float] | None:
        """Codes of one configuration; None if it is no point of this space, fixed parameters left aside."""
        found: list[float] = []
        for column, param in enumerate(self.params):
            if not self._open(column, found):
                found.append(np.nan)
            elif isinstance(param, FixedParam):
                found.append(0.0)
            else:
                # A parameter that was added to a running study counts as having had its default before.
                value = params.get(param.name, param.default)
                if value is None or param.complaint(value) is not None:
                    return None
                found.append(float(encoded(param, value)))
        return found

    def decode(self, codes: Column) -> Params:
        """Params of one row of codes: the active ones, in the order of the space."""
        values: dict[str, ParamValue] = {}
        for param, code in zip(self.params, codes.tolist(), strict=True):
            if code == code:  # not NaN
                values[param.name] = decoded(param, code)
        return values

    def snap(self, units: Matrix) -> Matrix:
        """Codes of the points of the space at ``units``, [n, width]; what is not active there is NaN."""
        codes = np.empty_like(units)
        for column, (_, from_unit) in enumerate(self._scales):
            codes[:, column] = from_unit(units[:, column])
            for parent, allowed in self._gates[column]:
                codes[~np.isin(codes[:, parent], allowed), column] = np.nan
        return codes

    def units(self, codes: Matrix) -> Matrix:
        """Where codes lie in the unit cube; a whole number or a choice in the middle of its share."""
        columns = [to_unit(codes[:, column]) for column, (to_unit, _) in enumerate(self._scales)]
        return np.stack(columns, axis=1)

    def features(self, codes: Matrix, *, inactive: float) -> Matrix:
        """Inputs of a model, [n, features]: units, a column for each unordered choice, ``inactive`` for what is not."""
        units = self.units(codes)
        parts: list[Matrix] = []
        for column in np.flatnonzero(self.searched):
            size = self.sizes[column]
            if self.unordered[column] and size is not None and size <= ONE_HOT_UP_TO:
                choices = np.arange(1 if size == 2 else size)  # of two choices one column tells both
                chosen = (codes[:, [column]] == choices).astype(float)
                parts.append(np.where(np.isnan(codes[:, [column]]), inactive, chosen) if size == 2 else chosen)
            else:
                parts.append(units[:, [column]])
        stacked = np.concatenate(parts, axis=1) if parts else np.zeros((len(codes), 1))
        return cast(Matrix, np.where(np.isnan(stacked), inactive, stacked))

    def groups(self) -> list[list[int]]:
        """Columns that are searched, by what they depend on: those of one group are active together."""
        found: dict[str, list[int]] = {}
        for column in np.flatnonzero(self.searched):
            gate = self._gates[column]
            found.setdefault(repr([(parent, allowed.tolist()) for parent, allowed in gate]), []).append(int(column))
        return list(found.values())

    def is_open(self, column: int, codes: Column) -> bool:
        """Whether a parameter is active, given the codes of those before it."""
        return self._open(column, codes)

    def _open(self, column: int, codes: Column | list[float]) -> bool:
        return all(bool((allowed == codes[parent]).any()) for parent, allowed in self._gates[column])

    def _gate(self, param: Param) -> list[tuple[int, Column]]:
        """Parents' columns, each with the codes under which ``param`` is active."""
        gate = []
        columns = {one.name: column for column, one in enumerate(self.params)}
        for name, values in (param.when or {}).items():
            parent = self.params[columns[name]]
            allowed = [float(encoded(parent, value)) for value in values if parent.complaint(value) is None]
            gate.append((columns[name], np.array(allowed, dtype=float)))
        return gate


def random_units(cube: Cube, n: int, rng: np.random.Generator) -> Matrix:
    return rng.random((n, cube.width))


def _unordered(param: Param) -> bool:
    return isinstance(param, CategoricalParam) and not param.ordered


Scale = tuple[Callable[[Column], Column], Callable[[Column], Column]]


def _scale(param: Param) -> Scale:
    """From codes to units and from units to codes."""
    if is_grid(param):
        size = param.grid_size or 1
        return lambda codes: (codes + 0.5) / size, lambda units: np.minimum(np.floor(units * size), size - 1)
    assert isinstance(param, (FloatParam, IntParam))
    if param.log:
        low, high = log_bounds(param)
        ends = float(param.low), float(param.high)
        whole = isinstance(param, IntParam)

        def from_unit(units: Column) -> Column:
            values = np.exp(low * (1.0 - units) + high * units)
            return cast(Column, np.clip(np.round(values) if whole else values, *ends))

        return lambda codes: (np.log(codes) - low) / (high - low), from_unit
    low, high = float(param.low), float(param.high)
    # Halves, since the difference of two huge bounds may overflow.
    return (
        lambda codes: (codes / 2 - low / 2) / (high / 2 - low / 2),
        lambda units: np.clip(low * (1.0 - units) + high * units, low, high),
    )
