"""Which parameters matter: Optuna's PED-ANOVA, fANOVA and mean decrease in impurity, on trials that are comparable.

PED-ANOVA (Watanabe, Bansal & Hutter 2023, arXiv:2304.10255) asks what the best tenth has in common, fANOVA (Hutter,
Hoos & Leyton-Brown 2014) what share of the variance over the whole space a parameter explains, alone or with another.
They answer different questions and may disagree, so that an importance is never told without its method.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpo.analysis.observations import FEWEST, Observation
from hpo.domain.history import Params
from hpo.space.definition import Space
from hpo.space.space import fill_defaults
from hpo.spec.search import Objective
from hpo.spec.space import FixedParam, Param

Array = NDArray[np.float64]
Method = Literal["ped_anova", "fanova", "mdi"]


@dataclass(frozen=True, slots=True)
class Pair:
    """``value`` is the share of the variance that two parameters explain together and neither explains alone."""

    params: tuple[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Importance:
    """``values`` are shares that add up to 1, the greatest first; empty with a ``reason`` where nothing can be said.

    ``reason`` also says what was left out.
    """

    n_trials: int
    values: Mapping[str, float]
    pairs: tuple[Pair, ...] = ()
    reason: str | None = None


def searched(space: Space) -> list[Param]:
    """The parameters that can differ from trial to trial."""
    return [param for param in space if not isinstance(param, FixedParam)]


def importance(
    space: Space, objective: Objective, observations: Sequence[Observation], *, which: int = 0, method: Method
) -> Importance:
    """The importances of the searched parameters for the objective at position ``which`` of the values.

    PED-ANOVA judges a conditional parameter where it is active; the others can judge only what every trial has.
    Costs ms with PED-ANOVA, seconds with fANOVA.
    """
    points = [(one, point) for one in observations if (point := _point(space, one.params)) is not None]
    params = [param for param in searched(space) if any(param.name in held for _, held in points)]
    losses = np.array([objective.loss(one.values[which]) for one, _ in points])
    too_few = _cannot(len(points), len(observations), params, losses)
    if too_few is not None:
        return Importance(len(points), {}, reason=too_few)
    left_out: list[str] = []
    if method != "ped_anova":
        left_out = [param.name for param in params if not all(param.name in held for _, held in points)]
        params = [param for param in params if param.name not in left_out]
        if not params:
            reason = "every parameter is conditional, which this method cannot judge: ask for ped_anova"
            return Importance(len(points), {}, reason=reason)
    from hpo.analysis.evaluators import evaluate  # brings Optuna, which takes half a second

    raw, pairs = evaluate(params, points, losses, method)
    total = sum(raw.values())
    if total <= 0:
        return Importance(len(points), {}, reason="no parameter tells good trials from bad ones so far")
    shares = {name: float(value / total) for name, value in raw.items()}
    ordered = dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))
    some = f"{', '.join(left_out)}: active in some trials only, which {method} cannot judge; ped_anova can"
    return Importance(len(points), ordered, pairs, some if left_out else None)


def _cannot(usable: int, given: int, params: Sequence[Param], losses: Array) -> str | None:
    """Why there is no importance, and what would help."""
    if not params and usable:
        return "the search space has nothing that is searched"
    if usable < FEWEST:
        foreign = f", {given - usable} more lie outside the search space as it is now" if given > usable else ""
        return f"needs {FEWEST} comparable trials, has {usable}{foreign}"
    if np.ptp(losses) == 0:
        return f"all {usable} comparable trials have the same value"
    return None


def _point(space: Space, params: Params) -> Params | None:
    """The configuration in terms of the space as it is now; None if it has values that are no longer in it."""
    point = fill_defaults(space, params)
    return point if all(space.by_name[name].complaint(value) is None for name, value in point.items()) else None
