"""Time of one ask of every sampler, and of a bare Optuna's TPE in memory on the same history.

    python -m benchmarks.ask [SAMPLER ...]

Each side has a process of its own: Ladder's adapter replaces two functions of Optuna in the process that imports it.
"""

import random
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial

PARAMS = [f"p{index}" for index in range(8)]
SIZES, RUNNING, ASKS, RUNS = (100, 1_000, 10_000), 32, 15, 3


def _history(size: int) -> tuple[list[dict[str, float]], list[float]]:
    draw = random.Random(1)
    return [{name: draw.random() for name in PARAMS} for _ in range(size + RUNNING)], [
        draw.random() for _ in range(size)
    ]


def _ladder(size: int, kind: str) -> Callable[[int], object]:
    from hpo.choose import resolve
    from hpo.domain.history import TrialRecord
    from hpo.domain.trial import TrialState
    from hpo.engine import Engine
    from hpo.spec.study import StudySpec

    params, losses = _history(size)
    spec = StudySpec.model_validate(
        {
            "name": "ask",
            "objectives": [{"metric": "loss", "direction": "minimize"}],
            "search_space": [{"type": "float", "name": name, "low": 0.0, "high": 1.0} for name in PARAMS],
            "sampler": {"type": kind, "seed": 1},
            "trainer": {"name": "external"},
        }
    )
    records = [
        TrialRecord(number, values, TrialState.COMPLETE, ((1, losses[number]),))
        if number < size
        else TrialRecord(number, values, TrialState.RUNNING)
        for number, values in enumerate(params)
    ]
    engine = Engine(resolve(spec))  # what control asks: no configuration twice, all rules of the space kept
    return lambda turn: engine.ask(records, size + RUNNING + turn)


def _optuna(size: int) -> Callable[[int], object]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    params, losses = _history(size)
    space: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(0, 1) for name in PARAMS
    }
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(multivariate=True, seed=1))
    running = optuna.trial.TrialState.RUNNING
    for number, values in enumerate(params):
        ended = {"value": losses[number]} if number < size else {"state": running}
        study.add_trial(optuna.trial.create_trial(params=values, distributions=space, **ended))
    return lambda _: study.ask(space)


KINDS = ("random", "sobol", "tpe", "bohb", "gp", "rf", "cma_es", "genetic")
SIDES: dict[str, Callable[[int], Callable[[int], object]]] = {
    **{kind: partial(_ladder, kind=kind) for kind in KINDS},
    "optuna tpe": _optuna,
}


def _measure(side: str) -> None:
    warnings.simplefilter("ignore")  # Optuna calls multivariate TPE experimental
    for size in SIZES:
        ask = SIDES[side](size)
        ask(0)  # the first converts the history
        took = []
        for turn in range(1, ASKS + 1):
            began = time.perf_counter()
            ask(turn)
            took.append((time.perf_counter() - began) * 1e3)
        print(size, statistics.median(took))


def main(sides: list[str]) -> None:
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(RUNS):
        for side in sides:
            command = [sys.executable, "-m", "benchmarks.ask", "--measure", side]
            for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
                count, took_ms = line.split()
                found.setdefault((side, int(count)), []).append(float(took_ms))
    print(f"{len(PARAMS)} parameters, {RUNNING} running trials; ms, median of {RUNS} runs (least to most)")
    for (side, size), took in found.items():
        print(f"{side:<11}{size:>6}  {statistics.median(took):7.2f}  ({min(took):.2f} to {max(took):.2f})")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        _measure(sys.argv[2])
    else:
        main(sys.argv[1:] or list(SIDES))
