"""The record of a study in bulk: curves as lines, and the trials that a warm start began with."""

import json
from typing import Any

import pytest

from api.routes import records
from tests.integration.api.caller import Api, Json, problem


def curves(api: Api, query: str = "") -> list[Json]:
    answer = api.get(f"/studies/s/curves{query}", scope="read")
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_curve_is_what_was_accepted_step_by_step(api: Api) -> None:
    api.create(objectives=[{"metric": "loss", "direction": "maximize"}])
    good, bad, idle = api.ask(count=3)
    api.report(good, 1, 0.4, seconds=2.5)
    api.report(good, 3, 0.6)
    api.report(bad, 1, 0.3)
    api.report(bad, 2, "nan")
    first, second, third, fourth = curves(api)
    assert first == {
        "number": good["number"], "params": good["params"], "state": "complete", "steps": [1, 3],
        "losses": [-0.4, -0.6], "seconds": [2.5, None], "violations": None,
    }  # fmt: skip
    assert (second["state"], second["steps"], second["losses"]) == ("pruned", [1, 2], [-0.3, None])
    assert (third["number"], third["state"], third["steps"]) == (idle["number"], "running", [])
    assert fourth["state"] == "queued"


def test_curves_hold_what_outcome_constraints_miss(api: Api) -> None:
    bounds = [{"metric": "cost", "op": "<=", "value": 4}, {"metric": "size", "op": ">=", "value": 1}]
    api.create(constraints=bounds)
    one, two = api.ask(count=2)
    api.report(one, 1, metrics={"loss": 0.5})
    api.report(one, 2, metrics={"loss": 0.4, "cost": 6, "size": 0.5})
    api.report(one, 3, metrics={"loss": 0.3, "cost": 4, "size": 1})
    api.report(two, 3, metrics={"loss": 0.2, "cost": "inf", "size": 1})
    first, second, *_ = curves(api)
    assert (first["losses"], first["violations"]) == ([0.5, 0.4, 0.3], [None, 2.5, 0])
    assert (second["losses"], second["violations"], second["state"]) == ([None], [None], "pruned")


@pytest.mark.parametrize("page", [1, 2, 3, 100])
def test_pages_of_any_size_hold_every_trial_once(api: Api, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "PAGE", page)
    api.create(budget={"max_trials": 4})
    for trial in api.ask(count=4):
        api.report(trial, 3, trial["number"] / 10)
    whole = curves(api)
    assert [one["number"] for one in whole] == [0, 1, 2, 3]
    assert [one["losses"] for one in whole] == [[0.0], [0.1], [0.2], [0.3]]
    assert curves(api, "?after=1") == whole[2:]
    assert curves(api, "?after=3") == []


def test_a_study_without_a_trial_has_no_curves(api: Api) -> None:
    api.create(advance=False)
    assert curves(api) == []
    problem(api.get("/studies/none/curves"), 404, "not_found")
    problem(api.get("/studies/s/curves?after=x"), 422, "validation_failed")


def test_a_warm_start_shows_the_trials_it_began_with(api: Api) -> None:
    api.create(advance=False)
    assert api.get("/studies/s/warm-start").json() == {"resource": None, "trials": []}
    given: list[dict[str, Any]] = [{"params": {"x": x}, "value": x * x} for x in (0.5, 0.25, 1.0)]
    api.create("warm", advance=False, warm_start={"trials": given})
    shown = api.get("/studies/warm/warm-start", scope="read").json()
    assert shown["resource"] == 3
    assert [(one["params"]["x"], one["quantile"]) for one in shown["trials"]] == [
        (1.0, 5 / 6),
        (0.5, 0.5),
        (0.25, 1 / 6),
    ]
    problem(api.get("/studies/none/warm-start"), 404, "not_found")
