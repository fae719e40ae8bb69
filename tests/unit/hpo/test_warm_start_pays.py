"""What a warm start is for: the first suggestions are those of a model, and better than a cold start's."""

import numpy as np

from hpo.domain.history import Params, TrialRecord
from hpo.domain.trial import TrialState
from hpo.engine import Engine
from hpo.warm_start import earlier_trials, quantiles
from tests.unit.hpo.builders import a_study

FIRST = 10  # suggestions, all of them random in a cold start
SPACE = [{"type": "float", "name": name, "low": 0, "high": 1} for name in "xy"]


def loss(params: Params) -> float:
    return (float(params["x"]) - 0.7) ** 2 + (float(params["y"]) - 0.3) ** 2


def first_losses(seed: int, *, warm: bool) -> list[float]:
    rng = np.random.default_rng([seed, 1])
    old = [{"x": x, "y": y} for x, y in rng.random((40, 2)).tolist()]
    ranks = quantiles([100 * loss(params) - 3 for params in old])  # another scale: only the order is known
    stored = {
        "resource": 9,
        "trials": [{"params": params, "quantile": rank} for params, rank in zip(old, ranks, strict=True)],
    }
    spec = a_study(
        search_space=SPACE,
        sampler={"type": "tpe", "seed": seed, "n_startup_trials": FIRST},
        scheduler={"type": "fifo", "max_resource": 9},
    )
    engine = Engine(spec, earlier_trials(stored if warm else None))
    history: list[TrialRecord] = []
    for number in range(FIRST):
        params = engine.ask(history, number)
        assert params is not None
        history.append(TrialRecord(number, params, TrialState.COMPLETE, ((9, loss(params)),)))
    return [record.loss for record in history]


def test_the_first_suggestions_of_a_warm_start_are_better_on_average() -> None:
    warm = np.array([first_losses(seed, warm=True) for seed in range(10)]).mean(axis=1)
    cold = np.array([first_losses(seed, warm=False) for seed in range(10)]).mean(axis=1)
    assert (warm < cold).sum() >= 9
    assert warm.mean() < cold.mean() / 2
