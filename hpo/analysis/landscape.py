"""The objective over two parameters, in at most 64 x 64 cells: what a contour needs, whatever the number of trials."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpo.analysis.observations import Observation
from hpo.domain.history import ParamValue
from hpo.spec.search import Objective
from hpo.spec.space import CategoricalParam, FloatParam, IntParam, Param

MOST_CELLS = 64  # along an axis


@dataclass(frozen=True, slots=True)
class Axis:
    """``at`` are the middles of the cells or, where each cell is a value, the values."""

    param: Param
    at: tuple[ParamValue, ...]
    exact: bool

    def cell(self, value: ParamValue) -> int | None:
        """The cell of a value; None outside the range and for a choice that has no cell."""
        param = self.param
        if param.complaint(value) is not None:
            return None
        if self.exact:
            index = param.index(value)  # type: ignore[arg-type]  # no complaint: of the parameter's own type
            return index if index < len(self.at) else None
        low, high = _scaled(param, param.low), _scaled(param, param.high)  # type: ignore[union-attr]
        share = (_scaled(param, value) - low) / (high - low)  # type: ignore[arg-type]
        return min(int(share * len(self.at)), len(self.at) - 1)


@dataclass(frozen=True, slots=True)
class Landscape:
    """``best`` is the best value of each cell, [cells of y][cells of x], None where no trial fell; ``n`` trials did."""

    x: Axis
    y: Axis
    best: list[list[float | None]]
    n: int


def axis(param: Param, n_trials: int) -> Axis:
    """Cells along a parameter: one a value where there are few, else as many as the trials can fill."""
    if isinstance(param, CategoricalParam) or (param.grid_size or math.inf) <= MOST_CELLS:
        return Axis(param, tuple(param.point(index) for index in range(min(param.grid_size or 0, MOST_CELLS))), True)
    assert isinstance(param, FloatParam | IntParam)
    cells = min(MOST_CELLS, max(8, math.ceil(2 * math.sqrt(n_trials))))
    low, high = _scaled(param, param.low), _scaled(param, param.high)
    middles = [low + (high - low) * (index + 0.5) / cells for index in range(cells)]
    return Axis(param, tuple(math.exp(one) if param.log else one for one in middles), False)


def landscape(
    x: Param, y: Param, objective: Objective, observations: Sequence[Observation], *, which: int = 0
) -> Landscape:
    """The best values of the feasible trials by cells of two parameters. The rest of the configuration is not held."""
    across, up = axis(x, len(observations)), axis(y, len(observations))
    best: list[list[float | None]] = [[None] * len(across.at) for _ in up.at]
    n = 0
    for one in observations:
        if not one.feasible or x.name not in one.params or y.name not in one.params:
            continue
        column, row = across.cell(one.params[x.name]), up.cell(one.params[y.name])
        if column is None or row is None:
            continue
        n += 1
        value, known = one.values[which], best[row][column]
        if known is None or objective.loss(value) < objective.loss(known):
            best[row][column] = value
    return Landscape(across, up, best, n)


def _scaled(param: Param, value: float) -> float:
    return math.log(value) if getattr(param, "log", False) else float(value)
