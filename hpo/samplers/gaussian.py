"""A Gaussian process as surrogate (Snoek et al. 2012): Matérn 5/2 with a length scale for each input."""

from math import log, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, Matern, WhiteKernel

from hpo.samplers.cube import Matrix
from hpo.samplers.ladder import robust_scores
from hpo.samplers.surrogate import Plan, SurrogateSearch

Values = NDArray[np.float64]
BEST, RECENT = 60, 140  # an ask stays below 200 ms
FIT_ON = 80  # trials from which the kernel is learned; every step of it costs their number cubed
FIT_STEPS = 40
INACTIVE = -0.5  # off the unit interval: in its middle, trials without the parameter would speak of its middle value
AMPLITUDES, LENGTHS, NOISES = (0.05, 20.0), (0.02, 200.0), (1e-4, 1.0)


class Process:
    """A fitted Gaussian process of standardised targets; the deviation is that of the loss without its noise."""

    def __init__(self, model: GaussianProcessRegressor, *, shift: float, scale: float) -> None:
        self._model, self._shift, self._scale = model, shift, scale
        self._noise = float(model.kernel_.k2.noise_level)

    def predict(self, features: Matrix) -> tuple[Values, Values]:
        mean, deviation = self._model.predict(features, return_std=True)
        latent = np.sqrt(np.maximum(deviation**2 - self._noise, 1e-10))
        return mean * self._scale + self._shift, latent * self._scale


def fit_process(features: Matrix, targets: Values, seed: int) -> Process:
    """The process whose kernel is the most probable one given the targets; ``seed`` is not needed."""
    shift, scale = float(targets.mean()), float(targets.std()) or 1.0
    scaled = (targets - shift) / scale
    # Evenly over the merits, so that the kernel is learned from good ones and bad ones alike.
    n_shown = min(FIT_ON, len(scaled))
    shown = np.argsort(scaled, kind="stable")[np.linspace(0, len(scaled) - 1, n_shown).round().astype(int)]
    kernel = _learned_kernel(features[shown], scaled[shown])
    return Process(_regressor(kernel).fit(features, scaled), shift=shift, scale=scale)


def _learned_kernel(features: Matrix, targets: Values) -> Kernel:
    """The maximum a posteriori, with the priors of Hvarfner et al. 2024 (arXiv:2402.02229) on lengths and noise.

    Without priors a few trials make every length extreme. Not scikit-learn's own fit, which knows no priors.
    """
    n_inputs = features.shape[1]
    length = sqrt(2) + log(n_inputs) / 2
    start = (
        ConstantKernel(1.0, AMPLITUDES) * Matern(np.full(n_inputs, sqrt(n_inputs) / 2), LENGTHS, nu=2.5)
    ) + WhiteKernel(0.01, NOISES)
    means = np.array([0.0, *[length] * n_inputs, -4.0])
    deviations = np.array([1.0, *[sqrt(3)] * n_inputs, 1.0])
    model = _regressor(start).fit(features, targets)

    def loss(theta: Values) -> tuple[float, Values]:
        likelihood, gradient = model.log_marginal_likelihood(theta, eval_gradient=True, clone_kernel=False)
        distance = (theta - means) / deviations
        return float(distance @ distance / 2 - likelihood), distance / deviations - gradient

    # model.kernel_ is moved by every evaluation, so what begins the search is taken from the kernel as given.
    found = minimize(
        loss, start.theta, jac=True, method="L-BFGS-B", bounds=start.bounds, options={"maxiter": FIT_STEPS}
    )
    return start.clone_with_theta(found.x)


def _regressor(kernel: Kernel) -> GaussianProcessRegressor:
    return GaussianProcessRegressor(kernel, alpha=1e-8, optimizer=None)


def gaussian_search(
    *,
    n_startup_trials: int,
    acquisition: Literal["ei", "ucb", "both"],
    beta: float,
    cost: Literal["epochs", "seconds"] | None,
    n_objectives: int,
) -> SurrogateSearch:
    plan = Plan(
        n_startup_trials=n_startup_trials,
        best=BEST,
        recent=RECENT,
        inactive=INACTIVE,
        scale=robust_scores,
        acquisition=acquisition,
        beta=beta,
        cost=cost,
    )
    return SurrogateSearch(fit_process, plan, n_objectives=n_objectives)
