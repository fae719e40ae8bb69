"""Optuna's evaluators of importance, and the interactions that its fANOVA has the means to tell but does not."""

import threading
import warnings
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from hpo.analysis.frozen_study import FrozenStudy, coded_distribution, coded_value, frozen
from hpo.analysis.importance import Array, Method, Pair
from hpo.analysis.observations import Observation
from hpo.domain.history import Params
from hpo.spec.search import Objective
from hpo.spec.space import CategoricalParam, Param

SEED = 0  # of the forests: the same trials give the same importances
ONE_HOT_CHOICES = 5  # Optuna's fANOVA visits 2^choices cells per tree for a choice in one-hot code
PAIR_PARAMS = 6  # interactions are looked for among so many of the most important parameters
PAIR_TREES, PAIR_LEAF_SHARE = 16, 80  # and in so many trees, whose leaves hold at least 1/80 of the trials

# Optuna warns where too few trials make an importance inexact, which the result says in words. The filter of warnings
# is the process's, and may be changed by one thread at a time.
_quiet = threading.Lock()

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


def evaluate(
    params: Sequence[Param], points: Points, losses: Array, method: Method
) -> tuple[dict[str, float], tuple[Pair, ...]]:
    """What Optuna's evaluator of the method finds, not normalised, and with fANOVA the interactions of pairs."""
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
