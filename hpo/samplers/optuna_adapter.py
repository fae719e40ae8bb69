"""Optuna's samplers behind our interface: the only file, with ``optuna_history``, that knows Optuna."""

from collections.abc import Container, Mapping
from typing import Any, cast

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe import _truncnorm
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState
from scipy.special import log_ndtr, ndtr

from hpo.domain.history import History, Params, RngKey
from hpo.samplers.optuna_history import INTERNAL, OptunaHistory, decoded
from hpo.space.space import Space, sample

# Optuna takes the normal distribution and its logarithm in Python loops over the elements, most of the time of an ask.
# SciPy's vectorised functions give the same values up to rounding. benchmarks/ask.py measures both.
_truncnorm._log_ndtr, _truncnorm._ndtr = log_ndtr, ndtr

# TPE's good model is made of the best min(n / 10, 25) trials: with at least 250 in sight it is the same as with all.
BEST = 25
RECENT = 225


class Tpe:
    """Tree-structured Parzen estimator (Bergstra et al. 2011), Optuna's, over a bounded part of the history.

    An ask of Optuna's takes time in proportion to the trials: 44 ms with 5,000 trials of 8 parameters, under 3 ms here
    at any number (benchmarks/ask.py). TPE tells the best min(n / 10, 25) trials from the rest, and weights the rest
    the less the older they are. So it is shown the best ``BEST`` by its own order, the ``RECENT`` newest of the rest,
    and all that run without a result yet (constant liar). Up to ``BEST + RECENT`` results this is Optuna's answer;
    beyond, the model of the good is still the same, and the model of the rest forgets what had the least weight:
    weights fade out over the newest ``RECENT`` instead of over all.

    One object serves one study in one process. It remembers conversions only: answers depend on the arguments alone.
    """

    def __init__(self, *, n_startup_trials: int, n_ei_candidates: int, multivariate: bool) -> None:
        self._n_startup_trials = n_startup_trials
        self._n_ei_candidates = n_ei_candidates
        self._multivariate = multivariate
        self._space: Space = ()
        self._history = OptunaHistory(())

    def ask(self, space: Space, history: History, key: RngKey) -> Params:
        if space is not self._space:
            self._space, self._history = space, OptunaHistory(space)
        self._history.sync(history)
        if self._history.n_results < self._n_startup_trials:
            return sample(space, key.generator())
        found = self._model_ask(self._history.window(BEST, RECENT), key)
        # A list of one choice is not modelled; its position is 0.
        return {param.name: decoded(param, found.get(param.name, 0)) for param in space}

    def _model_ask(self, trials: list[FrozenTrial], key: RngKey) -> Mapping[str, Any]:
        # RandomState takes 32 bits; the startup's stream is not touched here, so both may share the key.
        seed = int(np.random.SeedSequence([key.seed, key.number]).generate_state(1)[0])
        sampler = _Tpe(
            n_startup_trials=1,  # decided above, on the whole history
            n_ei_candidates=self._n_ei_candidates,
            multivariate=self._multivariate,
            constant_liar=True,
            seed=seed,
        )
        distributions = {name: wanted for name, wanted in self._history.distributions.items() if not wanted.single()}
        study = cast(Study, _StudyView(trials))
        trial = FrozenTrial(
            number=key.number,
            state=OptunaState.RUNNING,
            value=None,
            datetime_start=None,
            datetime_complete=None,
            params={},
            distributions={},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
            trial_id=key.number,
        )
        if self._multivariate:
            return sampler.sample_relative(study, trial, distributions)
        return {name: sampler.sample_independent(study, trial, name, one) for name, one in distributions.items()}


class _Tpe(TPESampler):
    """Optuna's sampler, reading the numbers that were made when the trials were converted."""

    def _get_internal_repr(
        self, trials: list[FrozenTrial], search_space: dict[str, BaseDistribution], study: Study
    ) -> dict[str, Any]:
        # Optuna's own asks every distribution for every trial in every ask, a quarter of the time of the whole.
        rows = np.array([trial.user_attrs[INTERNAL] for trial in trials], dtype=float).reshape(len(trials), -1)
        columns = dict(zip(trials[0].distributions, rows.T, strict=True)) if trials else {}
        return {name: columns.get(name, np.empty(0)) for name in search_space}


class _NoStorage:
    """Takes what TPE would tell other processes about the asked trial: here the history tells them."""

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        pass


class _StudyView:
    """As much of an Optuna study as TPE reads: the trials, and that losses are minimised."""

    direction = StudyDirection.MINIMIZE
    directions = (StudyDirection.MINIMIZE,)
    _storage = _NoStorage()

    def __init__(self, trials: list[FrozenTrial]) -> None:
        self._trials = trials

    def _is_multi_objective(self) -> bool:
        return False

    def _get_trials(
        self, deepcopy: bool = True, states: Container[OptunaState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [trial for trial in self._trials if states is None or trial.state in states]
