"""The methods by name. A new sampler or scheduler of Ladder's is a line here."""

from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.search.tasks import Task
from benchmarks.search.trace import Outcome

Side = Literal["ladder", "optuna", "synetune"]
ASHA: dict[str, Any] = {"type": "asha", "reduction_factor": 3}
PROMOTE, STOP, FIFO = ASHA | {"mode": "promote"}, ASHA | {"mode": "stop"}, {"type": "fifo"}
RANDOM, TPE = {"type": "random"}, {"type": "tpe"}


@dataclass(frozen=True, slots=True)
class Method:
    """``config`` is all that decides how it searches, in the terms of its side."""

    side: Side
    config: dict[str, Any]


NINTH = PROMOTE | {"first": 9}  # rungs at R/9, R/3, R
AUTO = {"type": "auto"}

METHODS = {
    "ladder auto": Method("ladder", {"sampler": AUTO, "scheduler": AUTO}),
    "ladder gp+asha-ninth": Method("ladder", {"sampler": {"type": "gp"}, "scheduler": NINTH}),
    "ladder rf+asha-ninth": Method("ladder", {"sampler": {"type": "rf"}, "scheduler": NINTH}),
    "ladder tpe+asha-ninth": Method("ladder", {"sampler": TPE, "scheduler": NINTH}),
    "ladder random+asha-promote": Method("ladder", {"sampler": RANDOM, "scheduler": PROMOTE}),
    "ladder tpe+asha-promote": Method("ladder", {"sampler": TPE, "scheduler": PROMOTE}),
    "ladder tpe+asha-stop": Method("ladder", {"sampler": TPE, "scheduler": STOP}),
    "ladder tpe+fifo": Method("ladder", {"sampler": TPE, "scheduler": FIFO}),
    "random": Method("optuna", {"sampler": "random"}),
    "optuna tpe": Method("optuna", {"sampler": "tpe"}),
    "optuna tpe+hyperband": Method("optuna", {"sampler": "tpe", "pruner": "hyperband"}),
    "optuna gp": Method("optuna", {"sampler": "gp"}),
    "synetune asha": Method("synetune", {"scheduler": "asha"}),
    "synetune bohb": Method("synetune", {"scheduler": "bohb"}),
    "synetune cqr+asha": Method("synetune", {"scheduler": "cqr_asha"}),
}


def run_method(method: Method, task: Task, *, seed: int, workers: int) -> Outcome:
    """One run. Each side is imported only where it is asked for: Ladder's changes functions of Optuna's."""
    if method.side == "ladder":
        from benchmarks.search.ladder_methods import run_ladder

        return run_ladder(method.config, task, seed=seed, workers=workers)
    if method.side == "optuna":
        from benchmarks.search.optuna_methods import run_optuna

        return run_optuna(method.config, task, seed=seed, workers=workers)
    from benchmarks.search.synetune_methods import run_synetune

    return run_synetune(method.config, task, seed=seed, workers=workers)
