"""Every sampler, scheduler and stopping rule as a real study: API, Postgres, Redis, Celery workers, trainers."""

import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hpo.domain.events import Event, EventType
from hpo.replay import replay
from hpo.spec.study import StudySpec
from ladder.client import Client
from ladder.errors import ApiError
from ladder.stack import LocalStack
from tests.audit import audit
from tests.conftest import FAST

SPACE = [
    {"name": "x", "type": "float", "low": 0.0, "high": 1.0},
    {"name": "y", "type": "float", "low": 0.0, "high": 1.0},
]
GRID = [
    {"name": "x", "type": "float", "low": 0.0, "high": 1.0, "step": 0.25},
    {"name": "y", "type": "float", "low": 0.0, "high": 1.0, "step": 0.5},
]
LOSS = [{"metric": "loss", "direction": "minimize"}]
BOTH = [{"metric": "acc", "direction": "maximize"}, {"metric": "cost", "direction": "minimize"}]
ASHA = {"type": "asha", "max_resource": 4, "reduction_factor": 2}
FIFO = {"type": "fifo", "max_resource": 2}
WALL_S = 6.0
SLOW = {"name": "synthetic", "config": {"epoch_s": 0.1}}
GIVEN = [{"x": 0.7, "y": 0.3}, {"x": 0.1, "y": 0.9}]


def study(**changes: Any) -> dict[str, Any]:
    return {
        "objectives": LOSS,
        "search_space": SPACE,
        "sampler": {"type": "random", "seed": 3},
        "scheduler": FIFO,
        "trainer": {"name": "synthetic"},
        "budget": {"max_trials": 8},
        **changes,
    }


def sampler(kind: str, **options: Any) -> dict[str, Any]:
    return study(sampler={"type": kind, "seed": 3, **options}, budget={"max_trials": 14})


def scheduler(kind: str, **options: Any) -> dict[str, Any]:
    options = {"max_resource": 8, **options}
    return study(scheduler={"type": kind, **options}, budget={"max_trials": 12})


METHODS: dict[str, dict[str, Any]] = {
    "random": sampler("random"),
    "grid": study(search_space=GRID, sampler={"type": "grid", "seed": 3}, budget={"max_trials": 100}),
    "sobol": sampler("sobol"),
    "tpe": sampler("tpe", n_startup_trials=4),
    "univariate tpe": sampler("tpe", n_startup_trials=4, multivariate=False),
    "bohb": study(sampler={"type": "bohb", "seed": 3}, scheduler=ASHA, budget={"max_trials": 16}),
    "gp": sampler("gp", n_startup_trials=4),
    "gp by confidence bound": sampler("gp", n_startup_trials=4, acquisition="ucb"),
    "gp per second": sampler("gp", n_startup_trials=4, cost="seconds"),
    "rf": sampler("rf", n_startup_trials=4),
    "rf per epoch": study(
        sampler={"type": "rf", "seed": 3, "n_startup_trials": 4, "cost": "epochs"},
        scheduler=ASHA,
        budget={"max_trials": 14},
    ),
    "cma_es": sampler("cma_es", population_size=4),
    "nsga2": sampler("genetic", population_size=4),
    "nsga3": sampler("genetic", population_size=4, algorithm="nsga3"),
    "manual": study(sampler={"type": "manual"}, enqueue=GIVEN, budget={}),
    "auto": study(
        sampler={"type": "auto", "seed": 3},
        scheduler={"type": "auto", "max_resource": 9},
        budget={"max_trials": 14},
    ),
    "fifo": scheduler("fifo"),
    "successive_halving": scheduler("successive_halving", reduction_factor=2),
    "hyperband": scheduler("hyperband", reduction_factor=2),
    "asynchronous hyperband": scheduler("hyperband", reduction_factor=2, mode="async"),
    "asha": scheduler("asha", reduction_factor=2),
    "stopping asha": scheduler("asha", reduction_factor=2, mode="stop"),
    "asha in brackets": scheduler("asha", reduction_factor=2, brackets=3),
    "asha with n_full": scheduler("asha", reduction_factor=2, n_full=1),
    "median": scheduler("median", min_trials=2),
    "median of completed averages": scheduler("median", min_trials=1, among="completed", rivals="average"),
    "percentile": scheduler("percentile", percentile=30.0, min_trials=2),
    "threshold": scheduler("threshold", upper=0.6, grace=3),
    "patience": scheduler("patience", patience=2, min_delta=0.05),
    "curve": scheduler("curve", min_points=4),
    "pbt": study(
        scheduler={"type": "pbt", "max_resource": 8, "interval": 2, "population_size": 6}, budget={"max_trials": 6}
    ),
    "asha with pruners": study(
        scheduler={**ASHA, "max_resource": 8},
        pruners=[{"type": "median", "min_trials": 2}, {"type": "patience", "patience": 3}],
        budget={"max_trials": 12},
    ),
    "hyperband with a pruner": study(
        scheduler={"type": "hyperband", "max_resource": 8, "reduction_factor": 2},
        pruners=[{"type": "threshold", "upper": 0.6, "grace": 3}],
        budget={"max_trials": 12},
    ),
    "several objectives": study(objectives=BOTH, sampler={"type": "genetic", "seed": 3, "population_size": 4}),
    "several objectives at rungs": study(
        objectives=BOTH, sampler={"type": "tpe", "seed": 3, "n_startup_trials": 4}, scheduler=ASHA
    ),
    "outcome constraints": study(
        constraints=[{"metric": "cost", "op": "<=", "value": 4.0}],
        sampler={"type": "tpe", "seed": 3, "n_startup_trials": 4},
        scheduler=ASHA,
    ),
    "conditions and rules": study(
        search_space=[
            *SPACE,
            {"name": "noise", "type": "float", "low": 0.0, "high": 0.1, "when": {"checkpoint_bytes": [64]}},
            {"name": "checkpoint_bytes", "type": "categorical", "choices": [64, 128], "ordered": True},
        ],
        space_constraints=["x + y <= 1.2"],
        forbidden=[{"checkpoint_bytes": 128, "x": 0.5}],
        enqueue=[{"x": 0.2, "y": 0.3, "checkpoint_bytes": 128}],
        sampler={"type": "rf", "seed": 3, "n_startup_trials": 4},
    ),
    "stagnation": study(stagnation={"trials": 3}, budget={"max_trials": 50}),
    "max_epochs": study(scheduler=ASHA, budget={"max_trials": 50, "max_epochs": 31}),
    "max_gpu_hours": study(trainer=SLOW, budget={"max_trials": 500, "max_gpu_hours": 6 / 3600}),
    "max_wall_s": study(trainer=SLOW, budget={"max_trials": 500, "max_wall_s": WALL_S}),
}

# As outside of the tests: a trainer that starts anew would take all of a study of a few seconds.
STANDBY = {"LADDER_STANDBY": "1"}


@pytest.fixture(scope="module")
def running() -> Iterator[LocalStack]:
    with tempfile.TemporaryDirectory(prefix="ladder-test-") as home:
        made = LocalStack(Path(home), workers=2, settings_env=FAST | STANDBY, durable=False)
        try:
            made.start()
            yield made
        finally:
            made.stop()


@pytest.fixture(scope="module")
def client(running: LocalStack) -> Iterator[Client]:
    with Client(running.url, running.token) as made:
        yield made


@pytest.mark.parametrize("method", METHODS)
def test_a_method_runs_as_a_real_study_and_can_be_derived_again(
    running: LocalStack, client: Client, method: str
) -> None:
    name = method.replace(" ", "-")
    made = client.studies.create({**METHODS[method], "name": name})
    made.wait(timeout="90s")
    info, trials = client.studies.read(name), client.studies.trials(name)
    assert info.state == "finished"
    assert info.state_reason in {"max_trials", "n_full", "stagnation", "max_epochs", "max_gpu_hours", "max_wall_s"}
    assert any(trial.state == "complete" for trial in trials)
    assert audit(running.database_url, str(info.id), checkpoint_root=running.checkpoint_root) == []
    log = [Event(e.seq, EventType(e.type), e.trial, e.data) for e in client.studies.events(name)]
    derived = replay(StudySpec.model_validate(info.model_dump(include=set(StudySpec.model_fields))), log)
    assert derived.difference is None
    assert derived.decisions == sum("decision" in event.data for event in log) > 0
    assert derived.suggestions == len(trials) - len(info.enqueue)
    epochs = sum(trial.last_step for trial in trials)
    assert info.usage.epochs == epochs <= (info.budget.max_epochs or epochs)
    if method in CHECKS:
        CHECKS[method](client, name)


def _pbt(client: Client, name: str) -> None:
    trials = client.studies.trials(name)
    lines = [client.studies.schedule(name, trial.number) for trial in trials]
    assert any(len(line) > 1 for line in lines)
    for trial, line in zip(trials, lines, strict=True):
        assert [line[0].after_step, line[-1].to_step] == [0, trial.last_step]
        assert all(before.to_step == after.after_step for before, after in pairwise(line))
        assert line[-1].params == trial.params


def _front(client: Client, name: str) -> None:
    found = client.studies.pareto(name)
    values = [(one.values or [])[:2] for one in found.items]
    assert values == [v for v in values if not any(o[0] >= v[0] and o[1] <= v[1] and o != v for o in values)]
    assert found.hypervolume is not None
    assert found.hypervolume > 0
    with pytest.raises(ApiError) as refused:
        client.studies.best(name)
    assert refused.value.code == "use_pareto"


def _constrained(client: Client, name: str) -> None:
    assert all(one.metrics["cost"] <= 4 for one in client.studies.best(name, top=20))  # type: ignore[operator]
    assert {trial.feasible for trial in client.studies.trials(name)} == {True, False}


def _auto(client: Client, name: str) -> None:
    info = client.studies.read(name)
    for picked in (info.sampler, info.scheduler):
        assert picked.type == "auto"
        assert picked.picked is not None
        assert picked.why


def _n_full(client: Client, name: str) -> None:
    assert client.studies.read(name).counts.complete == 1


def _manual(client: Client, name: str) -> None:
    assert [trial.params for trial in client.studies.trials(name)] == GIVEN


def _ruled(client: Client, name: str) -> None:
    trials = [trial.params for trial in client.studies.trials(name)]
    assert all(params["x"] + params["y"] <= 1.2 for params in trials)
    assert all(("noise" in params) == (params["checkpoint_bytes"] == 64) for params in trials)


def _device_hours(client: Client, name: str) -> None:
    info = client.studies.read(name)
    assert info.state_reason == "max_gpu_hours"
    assert 0 < info.usage.gpu_hours <= 6 / 3600


def _wall_time(client: Client, name: str) -> None:
    info = client.studies.read(name)
    assert info.state_reason == "max_wall_s"
    ended = [trial.finished_at for trial in client.studies.trials(name) if trial.finished_at is not None]
    assert (max(ended) - info.created_at).total_seconds() <= WALL_S


CHECKS: dict[str, Callable[[Client, str], None]] = {
    "pbt": _pbt,
    "several objectives": _front,
    "several objectives at rungs": _front,
    "outcome constraints": _constrained,
    "auto": _auto,
    "asha with n_full": _n_full,
    "manual": _manual,
    "conditions and rules": _ruled,
    "max_gpu_hours": _device_hours,
    "max_wall_s": _wall_time,
}
