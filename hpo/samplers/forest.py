"""A forest of random trees whose spread tells how sure it is (Hutter et al. 2011, Geurts et al. 2006)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.tree import ExtraTreeRegressor

from hpo.samplers.cube import Matrix

Values = NDArray[np.float64]


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
