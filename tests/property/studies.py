"""Studies of every kind, and curves full of ties, divergences and broken constraints to simulate them on."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from hpo.domain.events import Event
from hpo.domain.history import Params
from hpo.simulate import Epoch, Faults
from hpo.spec.study import StudySpec
from tests.unit.hpo.builders import a_study

X = {"type": "float", "name": "x", "low": 0, "high": 1}
TEN_POINTS = [{"type": "int", "name": "x10", "low": 0, "high": 9}]
ASHA = {"type": "asha", "max_resource": 9}
MEDIAN = {"type": "median", "min_trials": 3}
TWO = [{"metric": "loss", "direction": "minimize"}, {"metric": "size", "direction": "minimize"}]
SMALL = [{"metric": "size", "op": "<=", "value": 0.8}]

METHODS: dict[str, dict[str, Any]] = {
    "fifo": {"scheduler": {"type": "fifo", "max_resource": 5}},
    "asha": {"scheduler": ASHA},
    "asha that stops": {"scheduler": ASHA | {"mode": "stop"}},
    "asha in brackets": {"scheduler": ASHA | {"brackets": 3}},
    "asha with n_full": {
        "scheduler": {"type": "asha", "max_resource": 20, "min_resource": 2, "reduction_factor": 2, "n_full": 2}
    },
    "asha that stops with n_full": {
        "scheduler": {"type": "asha", "max_resource": 16, "reduction_factor": 4, "mode": "stop", "n_full": 3}
    },
    "asha with pruners": {
        "scheduler": ASHA,
        "pruners": [MEDIAN | {"interval": 2}, {"type": "threshold", "upper": 1.1}, {"type": "patience", "patience": 3}],
    },
    "successive halving": {"scheduler": {"type": "successive_halving", "max_resource": 9, "n_trials": 10}},
    "successive halving with a pruner": {
        "scheduler": {"type": "successive_halving", "max_resource": 9},
        "pruners": [MEDIAN | {"grace": 2}],
    },
    "hyperband": {"scheduler": {"type": "hyperband", "max_resource": 9}},
    "asynchronous hyperband": {"scheduler": {"type": "hyperband", "max_resource": 9, "mode": "async"}},
    "median": {"scheduler": MEDIAN | {"max_resource": 6}},
    "median of complete trials": {"scheduler": MEDIAN | {"max_resource": 6, "among": "completed", "rivals": "best"}},
    "percentile": {"scheduler": {"type": "percentile", "max_resource": 6, "percentile": 30, "value": "average"}},
    "threshold": {"scheduler": {"type": "threshold", "max_resource": 6, "upper": 0.6, "grace": 2}},
    "patience": {"scheduler": {"type": "patience", "max_resource": 8, "patience": 2, "min_delta": 0.02}},
    "pbt": {"scheduler": {"type": "pbt", "max_resource": 9, "interval": 2, "population_size": 8}},
    "asha of two objectives": {"scheduler": ASHA, "objectives": TWO},
    "hyperband of two objectives": {"scheduler": {"type": "hyperband", "max_resource": 9}, "objectives": TWO},
    "asha with a constraint": {"scheduler": ASHA, "constraints": SMALL, "pruners": [MEDIAN]},
    "two objectives with a constraint": {"scheduler": ASHA, "objectives": TWO, "constraints": SMALL},
    "halving of ten points": {
        "scheduler": {"type": "successive_halving", "max_resource": 9, "n_trials": 16},
        "search_space": TEN_POINTS,
    },
    "pbt of ten points": {
        "scheduler": {"type": "pbt", "max_resource": 6, "interval": 2, "population_size": 12},
        "search_space": TEN_POINTS,
    },
}


def study(method: str, seed: int = 0, max_trials: int = 40, max_epochs: int | None = None) -> StudySpec:
    budget: dict[str, Any] = {"max_trials": max_trials, "max_epochs": max_epochs}
    plain = {"search_space": [X], "sampler": {"type": "random", "seed": seed}, "budget": budget}
    return a_study(**plain | METHODS[method])


def curve_of(spec: StudySpec) -> Callable[[int, Params, int], Epoch]:
    """Losses are rounded, so that ties happen. Beyond x = 0.95 a trial diverges at its second epoch."""

    def curve(number: int, params: Params, step: int) -> Epoch:
        x = float(params["x"]) if "x" in params else float(params["x10"]) / 10
        loss = float("nan") if x > 0.95 and step > 1 else round((x - 0.7) ** 2 + 1 / step, 2)
        size = round(1 - x, 1)
        return Epoch(
            loss,
            seconds=0.5 + x,
            vector=(loss, size) if len(spec.objectives) > 1 else (),
            violation=max(0.0, size - 0.8) if spec.constraints else 0.0,
        )

    return curve


def last_steps(events: tuple[Event, ...]) -> dict[int, int]:
    """The last step that was accounted of each trial."""
    steps: dict[int, int] = {}
    for event in events:
        if event.trial is not None:
            steps[event.trial] = max(steps.get(event.trial, 0), event.data.get("step", 0))
    return steps


def params_by_seq(events: tuple[Event, ...]) -> dict[int, Params]:
    """The params that a trial was trained with when each of its decisions was made, by the seq of the decision."""
    now: dict[int, Params] = {}
    found = {}
    for event in events:
        if event.trial is not None and "params" in event.data:
            now[event.trial] = event.data["params"]
        elif event.trial is not None and "decision" in event.data:
            found[event.seq] = now[event.trial]
    return found


studies = st.builds(
    study,
    st.sampled_from(sorted(METHODS)),
    st.integers(0, 10**6),
    st.integers(1, 50),
    st.none() | st.integers(1, 150),
)
kills = st.builds(
    Faults,
    kill_probability=st.sampled_from([0.0, 0.02, 0.2]),
    lease_s=st.floats(0, 10),
    restart_s=st.floats(0, 10),
    seed=st.integers(0, 10**6),
)
faults = st.builds(
    Faults,
    kill_probability=st.sampled_from([0.0, 0.02, 0.2]),
    lease_s=st.floats(0, 10),
    restart_s=st.floats(0, 10),
    seed=st.integers(0, 10**6),
    fail_probability=st.sampled_from([0.0, 0.02, 0.1]),
)
workers = st.integers(1, 12)
