"""Syne Tune's side: its schedulers through suggest and on_trial_result, with their own defaults."""

import logging
import warnings
from datetime import UTC, datetime
from typing import Any

import numpy as np
from syne_tune import config_space as st
from syne_tune.backend.trial_status import Trial
from syne_tune.optimizer.baselines import ASHA, ASHACQR, BOHB
from syne_tune.optimizer.scheduler import SchedulerDecision

from benchmarks.search.clock import run
from benchmarks.search.tasks import Params, Task
from benchmarks.search.trace import Outcome

SCHEDULERS = {"asha": ASHA, "bohb": BOHB, "cqr_asha": ASHACQR}
LOSS, EPOCH = "loss", "epoch"
NO_TIME = datetime(2000, 1, 1, tzinfo=UTC)  # a field of a trial that no scheduler reads


def run_synetune(config: dict[str, Any], task: Task, *, seed: int, workers: int) -> Outcome:
    """Search by ``config``: the name of a scheduler."""
    return run(_SyneTunePeer(config["scheduler"], task, seed), task, workers=workers)


class _SyneTunePeer:
    def __init__(self, name: str, task: Task, seed: int) -> None:
        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        # A kernel over one level divides by zero, and finds that such a candidate is no better than another.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module="statsmodels")
        warnings.filterwarnings("ignore", category=FutureWarning, module="pandas")
        np.random.seed(seed)  # noqa: NPY002  # some of its draws come from numpy's global generator
        self._trials: dict[int, Trial] = {}
        self._scheduler: Any = SCHEDULERS[name](
            config_space={param["name"]: _domain(param) for param in task.search_space},
            metric=LOSS,
            time_attr=EPOCH,
            max_t=task.max_resource,
            random_seed=seed,
        )

    def ask(self, trial: int) -> Params:
        suggestion = self._scheduler.suggest()
        if not suggestion.spawn_new_trial_id or suggestion.checkpoint_trial_id is not None:
            raise RuntimeError(f"only new trials are provided for, got {suggestion}")
        self._trials[trial] = Trial(trial, suggestion.config, NO_TIME)
        self._scheduler.on_trial_add(self._trials[trial])
        params: Params = suggestion.config
        return params

    def report(self, trial: int, step: int, loss: float) -> bool:
        decision = self._scheduler.on_trial_result(self._trials[trial], {LOSS: loss, EPOCH: step})
        if decision == SchedulerDecision.CONTINUE:
            return True
        if decision != SchedulerDecision.STOP:
            raise RuntimeError(f"only continue and stop are provided for, got {decision}")
        self._scheduler.on_trial_remove(self._trials.pop(trial))  # as its Tuner does, also at the last epoch
        return False

    def end(self, trial: int, *, diverged: bool) -> None:
        if not diverged:
            raise RuntimeError("its schedulers stop a trial at the last epoch themselves")
        self._scheduler.on_trial_error(self._trials.pop(trial))


def _domain(param: dict[str, Any]) -> Any:
    match param["type"], param.get("log", False):
        case "categorical", _:
            return st.choice(param["choices"])
        case "int", log:
            return (st.lograndint if log else st.randint)(param["low"], param["high"])
        case "float", log:
            return (st.loguniform if log else st.uniform)(param["low"], param["high"])
    raise ValueError(f"unknown type of parameter in {param}")
