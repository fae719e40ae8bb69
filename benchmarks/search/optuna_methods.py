"""Optuna's side: its samplers and pruners through ask, report and tell, with its own defaults."""

import warnings
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState

from benchmarks.search.clock import run
from benchmarks.search.tasks import Params, Task
from benchmarks.search.trace import Outcome


def run_optuna(config: dict[str, Any], task: Task, *, seed: int, workers: int) -> Outcome:
    """Search by ``config``: a sampler's name, and whether Hyperband prunes."""
    return run(_OptunaPeer(config, task, seed), task, workers=workers)


class _OptunaPeer:
    def __init__(self, config: dict[str, Any], task: Task, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        self._distributions = {param["name"]: _distribution(param) for param in task.search_space}
        self._last: dict[int, float] = {}
        self._trials: dict[int, Trial] = {}
        # Hyperband draws a trial's bracket from the study's name: one that is left to chance cannot be run again.
        self._study = optuna.create_study(
            study_name=f"{task.name}-{seed}",
            sampler=_sampler(config["sampler"], seed),
            pruner=_pruner(config.get("pruner"), task.max_resource),
        )

    def ask(self, trial: int) -> Params:
        self._trials[trial] = self._study.ask(self._distributions)
        return self._trials[trial].params

    def report(self, trial: int, step: int, loss: float) -> bool:
        asked = self._trials[trial]
        asked.report(loss, step)
        self._last[trial] = loss
        if asked.should_prune():
            self._study.tell(asked, state=TrialState.PRUNED)
            return False
        return True

    def end(self, trial: int, *, diverged: bool) -> None:
        if diverged:
            self._study.tell(self._trials[trial], state=TrialState.FAIL)
        else:
            self._study.tell(self._trials[trial], self._last[trial])


def _sampler(name: str, seed: int) -> BaseSampler:
    if name == "tpe":
        return TPESampler(multivariate=True, constant_liar=True, seed=seed)
    if name == "gp":
        return GPSampler(seed=seed)
    if name == "random":
        return RandomSampler(seed=seed)
    raise ValueError(f"unknown sampler {name!r}, want tpe, gp or random")


def _pruner(name: str | None, max_resource: int) -> BasePruner:
    if name is None:
        return NopPruner()
    if name == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=max_resource, reduction_factor=3)
    raise ValueError(f"unknown pruner {name!r}, want hyperband")


def _distribution(param: dict[str, Any]) -> BaseDistribution:
    if param["type"] == "categorical":
        return CategoricalDistribution(param["choices"])
    kind = IntDistribution if param["type"] == "int" else FloatDistribution
    return kind(param["low"], param["high"], log=param["log"])
