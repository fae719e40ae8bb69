"""Optuna both ways: a study of its storages taken in, and one of ours written into them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from ladder.cli import run
from tests.integration.api.caller import Api, Json
from tests.integration.api.test_cli import Call, filled, told

__all__ = ["told"]  # a fixture

STATES = {
    TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed",
    TrialState.RUNNING: "cancelled", TrialState.WAITING: "cancelled",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def objective(trial: optuna.Trial) -> float:
    """A search that is defined by running, with everything a trial can come to."""
    rate = trial.suggest_float("opt/lr", 1e-4, 1e-1, log=True)
    kind = trial.suggest_categorical("kind", ["sgd", "adam", None])
    if kind == "sgd":
        trial.suggest_float("momentum", 0.0, 0.9, step=0.1)
    trial.suggest_int("width", 8, 8 + 8 * (trial.number % 3 + 1), step=8)  # its range moves
    for step in range(4):
        trial.report(rate * step, step)
        if trial.number % 4 == 1 and step == 2:
            raise optuna.TrialPruned
    if trial.number == 6:
        raise ValueError("no such luck")
    return rate * 4


@pytest.fixture
def theirs(tmp_path: Path) -> tuple[str, optuna.Study]:
    """A study of 10 trials, the last two of which have not ended, in a journal."""
    file = str(tmp_path / "old.log")
    sampler = optuna.samplers.RandomSampler(seed=3)
    storage = JournalStorage(JournalFileBackend(file))
    study = optuna.create_study(storage=storage, study_name="old search!", direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=8, catch=(ValueError,))
    study.ask().suggest_float("opt/lr", 1e-4, 1e-1, log=True)
    study.enqueue_trial({"kind": "adam"})
    return file, study


def test_an_optuna_study_is_taken_in_with_all_its_trials(
    api: Api, told: Call, theirs: tuple[str, optuna.Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ladder.optuna_import.MAX_PAGE", 3)
    file, study = theirs
    code, out, err = told("import", "optuna", file, "--json")
    assert code == 0, err
    info = json.loads(out)
    assert (info["name"], info["state"], info["state_reason"]) == ("old-search-", "finished", "imported")
    assert info["best"]["value"] == pytest.approx(study.best_value)
    assert info["best"]["number"] == study.best_trial.number
    shown = api.get("/studies/old-search-/trials").json()["items"]
    assert [one["state"] for one in shown] == [STATES[trial.state] for trial in study.trials]
    for ours, trial in zip(shown, study.trials, strict=True):
        known = {name.replace("/", "_"): str(v) if v is None else v for name, v in trial.params.items()}
        assert ours["params"] == known
        assert ours["value"] == trial.value
        steps = api.get(f"/studies/old-search-/trials/{ours['number']}/metrics").json()["items"]
        curve = {step["step"]: step["metrics"]["value"] for step in steps}
        assert curve == {step + 1: value for step, value in trial.intermediate_values.items()}
    told_ = {"parameter 'opt/lr' is called 'opt_lr' here", "steps are counted from 1 here: Optuna's step 0 is epoch 1",
             "2 trials had not ended and count as cancelled"}  # fmt: skip
    assert told_ <= set(err.splitlines())
    width = next(param for param in info["search_space"] if param["name"] == "width")
    assert (width["type"], width["low"], width["high"]) == ("int", 8, 32)


def test_an_import_that_is_repeated_changes_nothing(api: Api, told: Call, theirs: tuple[str, optuna.Study]) -> None:
    for _ in range(2):
        assert told("import", "optuna", theirs[0], "--name", "mine")[0] == 0
    assert api.get("/studies/mine").json()["counts"]["complete"] == len(
        theirs[1].get_trials(states=[TrialState.COMPLETE])
    )
    code, out, _ = told("replay", "mine", "--json")
    assert code == 0
    assert (json.loads(out)["imported"], json.loads(out)["decisions"]) == (10, 0)


def test_several_objectives_and_constraints_are_taken_in(api: Api, told: Call, tmp_path: Path) -> None:
    def two(trial: optuna.Trial) -> tuple[float, float]:
        x = trial.suggest_float("x", 0, 1)
        trial.storage.set_trial_system_attr(trial._trial_id, "constraints", [x - 0.5])  # as its samplers do
        return x, 1 - x

    url = f"sqlite:///{tmp_path}/two.db"
    study = optuna.create_study(storage=url, study_name="two", directions=["minimize", "maximize"])
    study.optimize(two, n_trials=4)
    code, out, err = told("import", "optuna", url, "--json")
    assert code == 0, err
    info = json.loads(out)
    assert [one["metric"] for one in info["objectives"]] == ["value_0", "value_1"]
    assert info["constraints"] == [{"metric": "constraint_0", "op": "<=", "value": 0.0}]
    front = api.get("/studies/two/pareto").json()["items"]
    feasible = [trial for trial in study.best_trials if trial.values[0] <= 0.5]
    assert sorted(one["number"] for one in front) == sorted(trial.number for trial in feasible)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("import", "optuna", "sqlite:///nowhere.db"), "no Optuna storage that is there"),
        (("import", "optuna", "{file}", "--study", "another"), "no study 'another'"),
        (("export", "optuna", "s", "sqlite:////nowhere/at/all.db"), "unable to open database file"),
        (("export", "optuna", "nobody", "{file}"), "there is no study"),
    ],
)
def test_what_cannot_be_read_or_written_is_told_in_words(
    api: Api, told: Call, theirs: tuple[str, optuna.Study], arguments: tuple[str, ...], message: str
) -> None:
    api.create("s", advance=False)
    code, out, err = told(*(argument.format(file=theirs[0]) for argument in arguments))
    assert code in (1, 3)
    assert out == ""
    assert message in err
    assert "Traceback" not in err


@pytest.fixture(params=["sqlite", "journal"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/new.db" if request.param == "sqlite" else str(tmp_path / "new.log")


def opened(target: str) -> Any:
    return target if "://" in target else JournalStorage(JournalFileBackend(target))


def test_a_study_is_written_into_an_optuna_storage(api: Api, told: Call, target: str) -> None:
    filled(api)
    code, out, err = told("export", "optuna", "s", target, "--json")
    assert code == 0, err
    best = api.get("/studies/s/best").json()["items"]
    written: Json = json.loads(out)
    study = optuna.load_study(study_name="s", storage=opened(target))
    shown = api.get("/studies/s/trials").json()["items"]
    assert len(study.trials) == len(shown) == written["trials"]
    whole = min(one["value"] for one in best if one["state"] == "complete")
    assert study.best_value == written["best_value"] == whole
    curves = {trial.number: trial.intermediate_values for trial in study.trials}
    assert curves[0] == {1: 0.5, 3: pytest.approx(0.5 / 3)}
    assert [trial.params for trial in study.trials] == [one["params"] for one in shown]
    code, _, err = told("export", "optuna", "s", target)
    assert code == 1
    assert "already exists" in err
    assert told("export", "optuna", "s", target, "--name", "again")[0] == 0


def test_a_best_trial_that_optuna_does_not_count_is_told(api: Api, told: Call, target: str) -> None:
    filled(api)
    code, _, err = told("export", "optuna", "s", target)
    assert (code, "Optuna's" in err) == (0, False)
    (fourth,) = api.ask()
    api.report(fourth, 1, 0.01)
    code, _, err = told("export", "optuna", "s", target, "--name", "more")
    assert code == 0
    assert f"best is 0.01, of trial {fourth['number']}; Optuna's, of complete ones alone, is 0.166667" in err


def test_optuna_dashboard_opens_what_was_written(api: Api, told: Call, tmp_path: Path) -> None:
    from optuna_dashboard import wsgi

    filled(api)
    file = str(tmp_path / "new.log")
    assert told("export", "optuna", "s", file)[0] == 0
    page = asked(wsgi(opened(file)), "/api/studies")
    (study,) = page["study_summaries"]
    assert study["study_name"] == "s"
    detail = asked(wsgi(opened(file)), f"/api/studies/{study['study_id']}")
    assert len(detail["trials"]) == len(api.get("/studies/s/trials").json()["items"])
    assert detail["best_trials"][0]["values"] == [pytest.approx(0.5 / 3)]


def asked(application: Callable[..., Any], path: str) -> Json:
    """What a WSGI application answers."""
    from wsgiref.util import setup_testing_defaults

    environment: dict[str, Any] = {"PATH_INFO": path}
    setup_testing_defaults(environment)
    statuses: list[str] = []
    body = b"".join(application(environment, lambda status, *_: statuses.append(status)))
    assert statuses[0].startswith("200"), body
    found: Json = json.loads(body)
    return found


def test_a_study_goes_to_optuna_and_back(api: Api, told: Call, tmp_path: Path) -> None:
    filled(api)
    file = str(tmp_path / "there.log")
    assert told("export", "optuna", "s", file)[0] == 0
    assert run(["import", "optuna", file, "--name", "back"]) == 0
    there = {one["number"]: one["params"] for one in api.get("/studies/s/trials").json()["items"]}
    back = {one["number"]: one["params"] for one in api.get("/studies/back/trials").json()["items"]}
    assert back == there
    assert api.get("/studies/back").json()["best"]["value"] == api.get("/studies/s").json()["best"]["value"]
