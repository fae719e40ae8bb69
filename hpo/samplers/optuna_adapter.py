"""The parts of Optuna that the samplers are made of, as functions of numbers: the only file that knows Optuna.

Its own samplers want a study, a storage and trials as objects, and convert the whole history in every ask; what they
compute with is taken from below that.
"""

import warnings
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from optuna._hypervolume.hssp import _solve_hssp
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._nsgaiii._elite_population_selection_strategy import (
    _associate_individuals_with_reference_points,
    _generate_default_reference_point,
    _normalize_objective_values,
    _preserve_niche_individuals,
)
from optuna.samplers._tpe import _truncnorm
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters
from optuna.samplers._tpe.sampler import _get_reference_point, default_gamma, default_weights
from optuna.samplers.nsgaii import SBXCrossover
from optuna.study import Study
from optuna.study._multi_objective import _fast_non_domination_rank
from scipy.special import log_ndtr, ndtr

from hpo.samplers.codes import is_grid
from hpo.spec.space import CategoricalParam, FixedParam, IntParam, Param

# Optuna takes the normal distribution and its logarithm in Python loops over the elements, most of the time of an ask.
# SciPy's vectorised functions give the same values up to rounding. benchmarks/ask.py measures both.
_truncnorm._log_ndtr, _truncnorm._ndtr = log_ndtr, ndtr

Array = NDArray[np.float64]
PARZEN = _ParzenEstimatorParameters(
    prior_weight=1.0,
    consider_magic_clip=True,
    consider_endpoints=False,
    weights=default_weights,
    multivariate=True,
)


def distribution(param: Param) -> BaseDistribution:
    """What Optuna is told of the codes of a parameter."""
    if isinstance(param, CategoricalParam) and not param.ordered:
        return CategoricalDistribution(tuple(range(len(param.choices))))
    if is_grid(param):
        return IntDistribution(0, (param.grid_size or 1) - 1)
    assert not isinstance(param, (CategoricalParam, FixedParam))
    if isinstance(param, IntParam):
        return IntDistribution(param.low, param.high, log=param.log)
    return FloatDistribution(float(param.low), float(param.high), log=param.log)


def n_good(n_results: int) -> int:
    """How many of the results TPE takes for good: a tenth, at most 25."""
    return int(default_gamma(n_results))


def parzen_ask(
    distributions: dict[str, BaseDistribution],
    good: Array,
    rest: Array,
    *,
    n_candidates: int,
    rng: np.random.RandomState,
) -> Array:
    """The codes, [parameters], of the draw from the model of the good that is most likely relative to that of the rest.

    ``good`` and ``rest`` are codes, [trials, parameters], the oldest first: Optuna weights the newer ones more.
    """
    better, worse = (
        _ParzenEstimator(dict(zip(distributions, codes.T, strict=True)), distributions, PARZEN)
        for codes in (good, rest)
    )
    drawn = better.sample(rng, n_candidates)
    chosen = int(np.argmax(better.log_pdf(drawn) - worse.log_pdf(drawn)))
    return np.array([values[chosen] for values in drawn.values()], dtype=float)


def front_ranks(losses: Array, n_below: int) -> NDArray[np.intp]:
    """Non-dominated rank of each row of [rows, objectives], 0 first; exact for the best ``n_below`` rows."""
    return cast(NDArray[np.intp], _fast_non_domination_rank(losses, n_below=n_below))


def hypervolume_subset(losses: Array, n: int) -> NDArray[np.intp]:
    """Positions of ``n`` rows of one front that dominate much volume together (greedy)."""
    return cast(NDArray[np.intp], _solve_hssp(losses, np.arange(len(losses)), n, _get_reference_point(losses)))


def niche_survivors(chosen: Array, front: Array, n: int, *, divisions: int, rng: np.random.RandomState) -> list[int]:
    """Positions of the ``n`` rows of ``front`` that NSGA-III keeps beside the ``chosen`` ones.

    Both are losses, [rows, objectives]. Reference points lie at ``divisions`` parts of each axis.
    """
    points = _generate_default_reference_point(front.shape[1], divisions)
    scaled = _normalize_objective_values(np.concatenate([chosen, front]))
    closest, distance = _associate_individuals_with_reference_points(scaled, points)
    positions: Any = list(range(len(front)))  # it hands back what stands at the chosen positions
    survivors: Any = _preserve_niche_individuals(n, len(chosen), positions, closest, distance, rng)
    return list(survivors)


def sbx_child(parents: Array, *, eta: float, rng: np.random.RandomState) -> Array:
    """A child of two rows of the unit cube by simulated binary crossover (Deb and Agrawal 1995)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the class is marked experimental
        crossover = SBXCrossover(eta=eta)
    bounds = np.tile([0.0, 1.0], (parents.shape[1], 1))
    return crossover.crossover(parents, rng, cast(Study, None), bounds)  # the study is read for a default eta only
