"""Time of one TPE ask beside a bare Optuna's in memory, on the same history.

    python -m benchmarks.ask

Each side has a process of its own: Ladder's adapter replaces two functions of Optuna in the process that imports it.
"""

import random
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

PARAMS = [f"p{index}" for index in range(8)]
SIZES, RUNNING, ASKS, RUNS = (100, 1_000, 5_000), 32, 15, 3


def _history(size: int) -> tuple[list[dict[str, float]], list[float]]:
    draw = random.Random(1)
    return [{name: draw.random() for name in PARAMS} for _ in range(size + RUNNING)], [
        draw.random() for _ in range(size)
    ]


def _ladder(size: int) -> Callable[[int], object]:
    from hpo.domain.history import RngKey, TrialRecord
    from hpo.domain.trial import TrialState
    from hpo.samplers.optuna_adapter import Tpe
    from hpo.spec.space import FloatParam

    params, losses = _history(size)
    space = tuple(FloatParam(type="float", name=name, low=0.0, high=1.0) for name in PARAMS)
    records = [
        TrialRecord(number, values, TrialState.COMPLETE, ((1, losses[number]),))
        if number < size
        else TrialRecord(number, values, TrialState.RUNNING)
        for number, values in enumerate(params)
    ]
    sampler = Tpe(n_startup_trials=10, n_ei_candidates=24, multivariate=True)
    return lambda turn: sampler.ask(space, records, RngKey(1, turn))


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


SIDES = {"ladder": _ladder, "optuna": _optuna}


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


def main() -> None:
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(RUNS):
        for side in SIDES:
            command = [sys.executable, "-m", "benchmarks.ask", side]
            for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
                count, took_ms = line.split()
                found.setdefault((side, int(count)), []).append(float(took_ms))
    print(
        f"{len(PARAMS)} parameters, {RUNNING} running trials, multivariate; ms, median of {RUNS} runs (least to most)"
    )
    for (side, size), took in sorted(found.items()):
        print(f"{side:<7}{size:>6}  {statistics.median(took):6.2f}  ({min(took):.2f} to {max(took):.2f})")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _measure(sys.argv[1])
    else:
        main()
