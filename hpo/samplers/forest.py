"""A random forest as surrogate, in the manner of SMAC (Hutter et al. 2011)."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.tree import ExtraTreeRegressor

from hpo.samplers.cube import Matrix
from hpo.samplers.ladder import normal_scores
from hpo.samplers.surrogate import Plan, SurrogateSearch

Values = NDArray[np.float64]
BEST, RECENT = 60, 240  # an ask stays below 100 ms
INACTIVE = -1.0  # off the unit interval, so that one split sets inactive ones apart


class Forest:
    """Mean and deviation over trees that each cut at random and saw another bootstrap sample."""

    def __init__(self, trees: Sequence[ExtraTreeRegressor]) -> None:
        self._trees = trees

    def predict(self, features: Matrix) -> tuple[Values, Values]:
        inputs = features.astype(np.float32)  # what a tree computes in; its own method would check and copy each time
        answers = np.stack([tree.tree_.predict(inputs).ravel() for tree in self._trees])
        return answers.mean(axis=0), np.maximum(answers.std(axis=0), 1e-3)


def fit_forest(features: Matrix, targets: Values, seed: int, *, n_trees: int) -> Forest:
    model = ExtraTreesRegressor(
        n_estimators=n_trees, bootstrap=True, min_samples_leaf=2, random_state=np.random.RandomState(seed)
    ).fit(features, targets)
    return Forest(model.estimators_)


def forest_search(
    *,
    n_startup_trials: int,
    n_trees: int,
    random_fraction: float,
    cost: Literal["epochs", "seconds"] | None,
    n_objectives: int,
) -> SurrogateSearch:
    plan = Plan(
        n_startup_trials=n_startup_trials,
        best=BEST,
        recent=RECENT,
        inactive=INACTIVE,
        scale=normal_scores,
        random_fraction=random_fraction,
        cost=cost,
    )
    return SurrogateSearch(
        lambda features, targets, seed: fit_forest(features, targets, seed, n_trees=n_trees),
        plan,
        n_objectives=n_objectives,
    )
