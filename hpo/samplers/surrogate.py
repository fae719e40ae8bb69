"""Search by a surrogate model (Bayesian optimisation): what the Gaussian process and the random forest share."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from hpo.domain.history import History, Params, RngKey
from hpo.samplers.acquisition import log_expected_improvement, most_promising
from hpo.samplers.cube import Matrix
from hpo.samplers.evidence import Evidence, gather
from hpo.samplers.forest import fit_forest
from hpo.samplers.ladder import Scale, best_rows
from hpo.samplers.table import Memory, Table
from hpo.space.space import Space, sample

Values = NDArray[np.float64]
N_RANDOM = 512
MAX_AWAITED = 64
LEAST_CHANCE = 1e-4  # of being feasible, where all trees deny it
FEASIBILITY_TREES = 32  # of a forest under any model: a smooth one overshoots at the edge of a step


class Regressor(Protocol):
    """A fitted model."""

    def predict(self, features: Matrix) -> tuple[Values, Values]:
        """Mean and deviation, [n] each, at [n, features]; deviations are positive."""
        ...


Fit = Callable[[Matrix, Values, int], Regressor]  # features [n, f], targets [n], a seed


@dataclass(frozen=True, slots=True)
class Plan:
    """How a surrogate is used; ``inactive`` is what stands for a parameter that is not active."""

    n_startup_trials: int
    best: int  # trials the model is shown: so many of the best,
    recent: int  # and so many of the newest others
    inactive: float
    scale: Scale  # from losses to what the model learns
    random_fraction: float = 0.0
    acquisition: Literal["ei", "ucb", "both"] = "ei"  # both: in turn, by the number of the trial
    beta: float = 2.0
    cost: Literal["epochs", "seconds"] | None = None


@cache
def _libraries() -> ThreadpoolController:
    """For one thread: sums come out the same on any number of cores, and small matrices wait for no other thread."""
    return ThreadpoolController()


class SurrogateSearch:
    """Proposes what a model expects most of: expected improvement or a confidence bound.

    Trials that run without a result yet are taken to turn out as the model expects them to (kriging believer,
    Ginsbourger et al. 2010), so that the next proposal keeps away from them. With outcome constraints the expectation
    is multiplied by the probability of being feasible, the share of votes in a forest; with several objectives each
    proposal minimises a scalarisation of its own (ParEGO, Knowles 2006).
    """

    def __init__(self, fit: Fit, plan: Plan, *, n_objectives: int = 1) -> None:
        self._fit, self._plan, self._n_objectives = fit, plan, n_objectives
        self._memory = Memory(n_objectives)

    def ask(self, space: Space, history: History, key: RngKey) -> Params:
        table = self._memory.table(space, history)
        rng = key.generator()
        # Without a single result there is nothing to learn from, whatever the settings.
        if table.n_results < max(1, self._plan.n_startup_trials):
            return sample(space, rng)
        if rng.random() < self._plan.random_fraction:
            return sample(space, rng)
        with _libraries().limit(limits=1, user_api="blas"):
            evidence = self._evidence(table, rng)
            bound = self._plan.acquisition == "ucb" or (self._plan.acquisition == "both" and key.number % 2 == 1)
            value = self._acquisition(table, evidence, rng, bound=bound)
            params = most_promising(table, evidence.incumbents[:10], value, N_RANDOM, rng=rng)
        return sample(space, rng) if params is None else params

    def _evidence(self, table: Table, rng: np.random.Generator) -> Evidence:
        weights = rng.dirichlet(np.ones(self._n_objectives)) if self._n_objectives > 1 else None
        rows = table.with_recent(best_rows(table, self._plan.best), self._plan.recent)
        return gather(
            table, rows, scale=self._plan.scale, max_awaited=MAX_AWAITED, weights=weights, cost=self._plan.cost
        )

    def _acquisition(
        self, table: Table, evidence: Evidence, rng: np.random.Generator, *, bound: bool
    ) -> Callable[[Matrix], Values]:
        def features(codes: Matrix) -> Matrix:
            return table.cube.features(codes, inactive=self._plan.inactive)

        def seed() -> int:
            return int(rng.integers(2**31))

        def fitted(inputs: Matrix, targets: Values) -> Regressor:
            return self._fit(inputs, targets, seed())

        known, plan = features(evidence.codes), self._plan
        model = fitted(known, evidence.scores)
        if len(evidence.awaited):
            waiting = features(evidence.awaited)
            believed, _ = model.predict(waiting)
            model = fitted(np.concatenate([known, waiting]), np.concatenate([evidence.scores, believed]))
        feasible = evidence.violations == 0
        constrained = bool(feasible.any() and not feasible.all())
        permitted = (
            fit_forest(known, feasible.astype(float), seed(), n_trees=FEASIBILITY_TREES) if constrained else None
        )
        costs = fitted(known, evidence.costs) if np.ptp(evidence.costs) > 0 else None
        expected, _ = model.predict(known[feasible] if feasible.any() else known)
        incumbent = float(expected.min())

        def value(codes: Matrix) -> Values:
            inputs = features(codes)
            mean, deviation = model.predict(inputs)
            improvement = log_expected_improvement(mean, deviation, incumbent)
            worth = plan.beta * deviation - mean if bound else improvement
            if permitted is not None:
                chance = np.log(np.maximum(permitted.predict(inputs)[0], LEAST_CHANCE))
                # Below even odds it counts by its fourth power: what is promised far inside the infeasible is large.
                worth = worth + chance + 3 * np.minimum(chance + np.log(2), 0.0)
            if costs is not None:
                worth = worth - costs.predict(inputs)[0]
            return worth

        return value
