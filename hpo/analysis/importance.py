"""Which parameters matter: Optuna's PED-ANOVA, fANOVA and mean decrease in impurity, on trials that are comparable.

PED-ANOVA (Watanabe, Bansal & Hutter 2023, arXiv:2304.10255) asks what the best tenth has in common, fANOVA (Hutter,
Hoos & Leyton-Brown 2014) what share of the variance over the whole space a parameter explains, alone or with another.
They answer different questions and may disagree, so that an importance is never told without its method.
"""

import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpo.analysis.frozen_study import FrozenStudy, coded_distribution, coded_value, frozen, searched
from hpo.analysis.observations import FEWEST, Observation
from hpo.domain.history import Params
from hpo.space.definition import Space
from hpo.space.space import fill_defaults
from hpo.spec.search import Objective
from hpo.spec.space import CategoricalParam, Param

Array = NDArray[np.float64]
Method = Literal["ped_anova", "fanova", "mdi"]
SEED = 0  # of the forests: the same trials give the same importances
ONE_HOT_CHOICES = 5  # Optuna's fANOVA visits 2^choices cells per tree for a choice in one-hot code
PAIR_PARAMS = 6  # interactions are looked for among so many of the most important parameters
PAIR_TREES, PAIR_LEAF_SHARE = 16, 80  # and in so many trees, whose leaves hold at least 1/80 of the trials

# Optuna warns where too few trials make an importance inexact, which the result says in words. The filter of warnings
# is the process's, and may be changed by one thread at a time.
_quiet = threading.Lock()


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
    raw, pairs = _evaluate(params, points, losses, method)
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


Points = Sequence[tuple[Observation, Params]]


def _study(params: Sequence[Param], points: Points, losses: Array, *, one_hot: int) -> FrozenStudy:
    """A study to minimise ``losses``; choices are in one-hot code where there are at most ``one_hot`` of them."""
    coded = {
        param.name: coded_distribution(
            param, one_hot=not isinstance(param, CategoricalParam) or len(param.choices) <= one_hot
        )
        for param in params
    }
    trials = []
    for (one, point), loss in zip(points, losses, strict=True):
        codes = {param.name: coded_value(param, point[param.name]) for param in params if param.name in point}
        measured = Observation(one.number, one.params, (float(loss),), one.state, one.step)
        trials.append(frozen(measured, codes, {name: coded[name] for name in codes}, constrained=False))
    return FrozenStudy(trials, [Objective(metric="loss", direction="minimize")])


def _evaluate(
    params: Sequence[Param],
    points: Points,
    losses: Array,
    method: Method,
) -> tuple[dict[str, float], tuple[Pair, ...]]:
    # Imported here: scikit-learn takes a second, and the API needs PED-ANOVA only.
    from optuna.importance import (
        FanovaImportanceEvaluator,
        MeanDecreaseImpurityImportanceEvaluator,
        PedAnovaImportanceEvaluator,
    )

    names = sorted(param.name for param in params)  # Optuna's forests take the names given for sorted ones
    one_hot = ONE_HOT_CHOICES if method == "fanova" else 10**9
    study = _study(params, points, losses, one_hot=one_hot)
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if method == "ped_anova":
            return PedAnovaImportanceEvaluator().evaluate(study, names), ()
        if method == "mdi":
            return MeanDecreaseImpurityImportanceEvaluator(seed=SEED).evaluate(study, names), ()
        found = FanovaImportanceEvaluator(seed=SEED).evaluate(study, names)
    top = sorted(names, key=lambda name: -found[name])[:PAIR_PARAMS]
    return found, _pairs([param for param in params if param.name in top], points, losses)


def _pairs(params: Sequence[Param], points: Points, losses: Array) -> tuple[Pair, ...]:
    """The interactions of two parameters each, the strongest first, out of the trees that Optuna's fANOVA is made of.

    Optuna's evaluator tells no pairs, but its trees give the variance that any set of parameters explains: of a pair's,
    what each explains alone is taken off (Hutter et al. 2014, equation 3). The cells of two parameters are so many that
    the full forest would take minutes, so a smaller one with larger leaves answers, whose shares are of its own
    variance and therefore not quite those of ``values``.
    """
    from optuna._transform import _SearchSpaceTransform
    from optuna.importance._fanova._fanova import _Fanova

    varied = [param for param in params if not coded_distribution(param, one_hot=False).single()]
    if len(varied) < 2:
        return ()
    space = {param.name: coded_distribution(param, one_hot=False) for param in varied}
    transform = _SearchSpaceTransform(space, transform_log=False, transform_step=False)
    codes = np.array(
        [
            transform.transform({param.name: coded_value(param, point[param.name]) for param in varied})
            for _, point in points
        ]
    )
    forest = _Fanova(
        n_trees=PAIR_TREES,
        max_depth=64,
        min_samples_split=2,
        min_samples_leaf=max(2, len(points) // PAIR_LEAF_SHARE),
        seed=SEED,
    )
    forest.fit(codes, losses, transform.bounds, transform.column_to_encoded_columns)
    trees = [tree for tree in forest._trees or () if tree.variance > 0]
    alone = {
        index: [tree.get_marginal_variance(np.array([index])) for tree in trees] for index in range(len(varied))
    }  # each has one column: nothing is in one-hot code
    pairs = []
    for one, two in combinations(range(len(varied)), 2):
        shares = [
            max(0.0, tree.get_marginal_variance(np.array([one, two])) - alone[one][at] - alone[two][at]) / tree.variance
            for at, tree in enumerate(trees)
        ]
        pairs.append(Pair((varied[one].name, varied[two].name), float(np.mean(shares))))
    return tuple(sorted(pairs, key=lambda pair: (-pair.value, pair.params)))
