"""The linear rules as a mixed-integer linear program: is there a point that keeps them, and which one is nearest?"""

from collections.abc import Container, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from hpo.domain.history import Params, ParamValue
from hpo.space.definition import Space
from hpo.spec.rules import ROUNDING, LinearRule
from hpo.spec.space import FloatParam, IntParam

NODES = 100  # of branch and bound: a limit that is the same on every machine, as one of time would not be
OPTIMAL, CUT_OFF, INFEASIBLE = 0, 1, 2  # status of scipy.optimize.milp
GAP = 0.2  # of the shortest distance: near is enough, and proving the nearest is most of the work


class SearchCutOff(Exception):
    """Branch and bound reached its limit before it found a point or that there is none."""


def variables_of(space: Space, rules: Sequence[LinearRule]) -> list[FloatParam | IntParam]:
    """The parameters of the rules that are not fixed, by name."""
    names = sorted({name for rule in rules for name in rule.names})
    return [param for name in names if isinstance(param := space.by_name[name], FloatParam | IntParam)]


class Polytope:
    """Rules over the numbers of one configuration; other values than those of ``variables`` are constants.

    A continuous parameter is a variable in [0, 1], one with steps or of whole numbers counts its steps from ``low``.
    """

    def __init__(
        self, space: Space, rules: Sequence[LinearRule], params: Params, *, constants: Container[str] = ()
    ) -> None:
        """``rules`` must apply to ``params``, of which the values of ``constants`` and of fixed parameters are used."""
        self._rules, self._params = rules, params
        self.variables = [param for param in variables_of(space, rules) if param.name not in constants]
        sizes = [param.grid_size for param in self.variables]
        self._low = np.array([float(param.low) for param in self.variables])
        self._unit = np.array([_unit(param) for param in self.variables])
        self._last = np.array([1.0 if size is None else float(size - 1) for size in sizes])
        self._stepped = np.array([size is not None for size in sizes], dtype=bool)
        with np.errstate(all="ignore"):  # ranges near the largest float overflow: no program is made of them
            rows = [self._row(rule, params) for rule in rules]
        self._matrix = np.array([row for row, _, _ in rows]).reshape(len(rows), len(self.variables))
        self._bounds = np.array([bound for _, bound, _ in rows])
        self._margins = np.array([margin for _, _, margin in rows])
        arrays = (self._unit, self._matrix, self._bounds)
        self._is_finite = all(bool(np.isfinite(array).all()) for array in arrays)

    @property
    def is_empty(self) -> bool:
        """True if certainly no point keeps the rules; False if one does or the search was cut off."""
        n = len(self.variables)
        if not self._is_finite:
            return False
        if n == 0:
            return not all(rule.holds(self._params) for rule in self._rules)
        # What strict rules must keep of distance is below the solver's tolerance, so it finds the largest distance.
        found = milp(
            np.append(np.zeros(n), -1.0),
            constraints=LinearConstraint(np.column_stack([self._matrix, self._margins > 0]), -np.inf, self._bounds),
            bounds=Bounds(0, np.append(self._last, 1.0)),
            integrality=np.append(self._stepped, False),
            options={"node_limit": NODES},
        )
        if found.status == OPTIMAL and (self._margins > 0).any():
            return bool(found.x[n] < self._margins.max() / 2)
        return bool(found.status == INFEASIBLE)

    def nearest(self, params: Params) -> dict[str, ParamValue] | None:
        """Values of the variables that keep the rules, nearest to ``params`` by the sum of their shares of each range.

        None if there are none. Raises SearchCutOff.
        """
        n = len(self.variables)
        if n == 0 or not self._is_finite:
            return None
        target = (np.array([float(params[param.name]) for param in self.variables]) - self._low) / self._unit
        # Variables are the positions x and the distances t: -t <= x - target <= t. Distances are weighed by the range
        # in the costs and not here: HiGHS takes coefficients under 1e-9 for zero.
        weights = np.maximum(self._last.min() / self._last, 1e-6)
        eye = np.eye(n)
        constraints = [
            LinearConstraint(
                np.hstack([self._matrix, np.zeros_like(self._matrix)]), -np.inf, self._bounds - self._margins
            ),
            LinearConstraint(np.hstack([eye, -eye]), -np.inf, target),
            LinearConstraint(np.hstack([-eye, -eye]), -np.inf, -target),
        ]
        found = milp(
            np.concatenate([np.zeros(n), weights]),
            constraints=constraints,
            bounds=Bounds(0, np.concatenate([self._last, self._last])),
            integrality=np.concatenate([self._stepped, np.zeros(n, dtype=bool)]),
            options={"node_limit": NODES, "mip_rel_gap": GAP},
        )
        if found.x is None and found.status == CUT_OFF:
            raise SearchCutOff
        return None if found.x is None else self._values(found.x[:n])

    def _values(self, positions: NDArray[np.float64]) -> dict[str, ParamValue]:
        values: dict[str, ParamValue] = {}
        for param, position, unit in zip(self.variables, positions.tolist(), self._unit.tolist(), strict=True):
            if param.grid_size is None:
                values[param.name] = min(max(float(param.low) + position * unit, float(param.low)), float(param.high))
            else:
                values[param.name] = param.point(round(position))
        return values

    def _row(self, rule: LinearRule, params: Params) -> tuple[NDArray[np.float64], float, float]:
        """Coefficients of the positions, their bound, and how far below it a strict rule over real numbers must stay.

        Scaled, since the solver's tolerance is absolute.
        """
        coefficients: Mapping[str, float] = dict(rule.coefficients)
        of_variables = np.array([coefficients.get(param.name, 0.0) for param in self.variables])
        known = {param.name for param in self.variables}
        constants = [c * float(params[name]) for name, c in rule.coefficients if name not in known]
        bound = rule.bound - sum(constants) - float(of_variables @ self._low)
        margin = 0.0
        if rule.strict and self._is_whole(rule, params):
            bound -= 1.0
        elif rule.strict:  # twice what LinearRule.holds takes for rounding
            highs = np.array([max(abs(param.low), abs(param.high)) for param in self.variables], dtype=float)
            margin = 2 * ROUNDING * (float(np.abs(of_variables) @ highs) + sum(map(abs, constants)) + abs(rule.bound))
        row = of_variables * self._unit
        scale = float(np.abs(row).max(initial=0.0)) or 1.0
        return row / scale, bound / scale, margin / scale

    def _is_whole(self, rule: LinearRule, params: Params) -> bool:
        """Are both sides of the rule whole numbers, whatever the variables are?"""
        whole = {param.name for param in self.variables if isinstance(param, IntParam)}
        return rule.whole and all(name in whole or isinstance(params.get(name), int) for name in rule.names)


def _unit(param: FloatParam | IntParam) -> float:
    """What one unit of the variable is worth in the parameter."""
    return float(param.high) - float(param.low) if param.step is None else float(param.step)
