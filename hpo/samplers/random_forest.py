"""Search by a random forest, in the manner of SMAC (Hutter et al. 2011)."""

from functools import partial
from typing import Literal

from hpo.samplers.forest import fit_forest
from hpo.samplers.ladder import normal_scores
from hpo.samplers.surrogate import Plan, SurrogateSearch

BEST, RECENT = 60, 240  # an ask stays near 100 ms
INACTIVE = -1.0  # off the unit interval, so that one split sets inactive ones apart


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
    return SurrogateSearch(partial(fit_forest, n_trees=n_trees), plan, n_objectives=n_objectives)
