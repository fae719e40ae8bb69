"""What a study may ask of its search: combinations that go together, configurations by hand, a space that changes."""

from typing import Any

import pytest

from tests.integration.api.caller import Api, Json, problem, refused, spec

X = {"type": "float", "name": "x", "low": 0, "high": 1}
TWO = [{"metric": "loss", "direction": "minimize"}, {"metric": "acc", "direction": "maximize"}]
PBT = {"type": "pbt", "max_resource": 4, "interval": 2, "population_size": 4}


@pytest.mark.parametrize(
    ("changes", "pointer", "reason"),
    [
        (
            {
                "search_space": [X | {"step": 0.25}],
                "sampler": {"type": "grid"},
                "scheduler": PBT,
            },
            "/sampler/type",
            "whole population at once",
        ),
        ({"sampler": {"type": "tpe"}, "scheduler": PBT}, "/sampler/type", "whole population at once"),
        ({"scheduler": PBT | {"population_size": 9}}, "/budget/max_trials", "population_size = 9"),
        ({"scheduler": PBT | {"mutate": ["z"]}}, "/scheduler/mutate/0", "search space"),
        ({"objectives": TWO, "scheduler": {"type": "median", "max_resource": 3}}, "/scheduler/type", "one loss"),
        ({"objectives": TWO, "pruners": [{"type": "patience", "patience": 2}]}, "/pruners/0/type", "one loss"),
        ({"objectives": TWO, "stagnation": {"trials": 3}}, "/stagnation", "one best loss"),
        ({"objectives": TWO, "sampler": {"type": "gp", "cost": "epochs"}}, "/sampler/cost", "one loss"),
        ({"scheduler": {"type": "asha", "max_resource": 9, "brackets": 4}}, "/scheduler/brackets", "at most 3"),
        ({"scheduler": {"type": "asha", "max_resource": 9, "n_full": 5}}, "/scheduler/n_full", "at most the 4"),
        ({"pruners": [{"type": "median", "grace": 4}]}, "/pruners/0/grace", "3"),
        ({"sampler": {"type": "grid"}}, "/search_space/0/step", "continuous"),
        ({"sampler": {"type": "hill_climbing"}}, "/sampler/type", "cma_es"),
        ({"scheduler": {"type": "pasha", "max_resource": 3}}, "/scheduler/type", "successive_halving"),
        ({"search_space": [X | {"when": {"z": [1]}}]}, "/search_space/0/when/z", "z"),
        ({"space_constraints": ["x + z <= 1"]}, "/space_constraints/0", "z"),
        ({"space_constraints": ["x >= 2"]}, "/space_constraints/0", "x"),
        ({"space_constraints": ["__import__('os')"]}, "/space_constraints/0", ""),
        ({"forbidden": [{"z": 1}]}, "/forbidden/0/z", "z"),
        ({"enqueue": [{"x": 0.5}, {"x": 2.0}]}, "/enqueue/1/x", "[0, 1]"),
        ({"enqueue": [{"x": 0.1 * n} for n in range(5)]}, "/enqueue", "at most max_trials = 4"),
        ({"warm_start": {"studies": ["gone"]}}, "/warm_start/studies/0", "gone"),
        ({"warm_start": {"trials": [{"params": {"z": 1}, "value": 1.0}]}}, "/warm_start", "none of the trials"),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_reason(
    api: Api, changes: Json, pointer: str, reason: str
) -> None:
    assert reason in refused(api.post("/studies", spec(**changes)), pointer)
    assert api.stored() == 0


def _params(api: Api) -> list[Json]:
    return [trial["params"] for trial in api.get("/studies/s/trials").json()["items"]]


def test_enqueued_configurations_come_first_and_in_their_order(api: Api) -> None:
    study = api.create(enqueue=[{"x": 0.25}], advance=False, start=False)
    answer = api.post("/studies/s/trials", {"params": {"x": 0.75}, "repeat": 2})
    assert (answer.status_code, answer.json()) == (201, {"waiting": 3})
    api.post("/studies/s/start")
    api.ask(count=4)
    assert [params["x"] for params in _params(api)[:3]] == [0.25, 0.75, 0.75]
    assert len(_params(api)) == study["budget"]["max_trials"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"params": {"x": 3}}, "/params/x"),
        ({"params": {}}, "/params/x"),
        ({"params": {"x": 0.5, "y": 1}}, "/params/y"),
        ({"params": {"x": 0.5}, "repeat": 5}, "/repeat"),
    ],
)
def test_an_enqueued_configuration_is_checked_against_the_space(api: Api, body: Json, pointer: str) -> None:
    api.create(advance=False, start=False)
    refused(api.post("/studies/s/trials", body), pointer)


def test_a_study_that_has_ended_takes_no_configuration(api: Api) -> None:
    api.create(advance=False)
    api.post("/studies/s/cancel")
    problem(api.post("/studies/s/trials", {"params": {"x": 0.5}}), 409, "invalid_state")


def test_a_finite_space_is_trained_once_and_the_study_ends(api: Api) -> None:
    space = [{"type": "categorical", "name": "x", "choices": [1, 2, 3]}]
    study = api.create(search_space=space, budget={"max_trials": 10}, scheduler={"type": "fifo", "max_resource": 1})
    for trial in api.ask(count=3):
        api.report(trial, 1)
    api.advance(study)
    assert sorted(params["x"] for params in _params(api)) == [1, 2, 3]
    ended = api.get("/studies/s").json()
    assert (ended["state"], ended["state_reason"]) == ("finished", "max_trials")


def _edit(api: Api, **changes: Any) -> Any:
    return api.call("PATCH", "/studies/s", changes)


def test_a_live_space_is_edited_and_the_trials_so_far_are_kept_and_used(api: Api) -> None:
    study = api.create(
        sampler={"type": "tpe", "seed": 2, "n_startup_trials": 2},
        budget={"max_trials": 12},
        scheduler={"type": "fifo", "max_resource": 1},
    )
    for trial in api.ask(count=5):
        api.report(trial, 1, loss=trial["params"]["x"])
    before = _params(api)
    wide = [X | {"high": 4}, {"type": "int", "name": "y", "low": 0, "high": 9, "default": 5}]
    edited = _edit(api, search_space=wide, space_constraints=["x <= y"])
    assert edited.status_code == 200, edited.text
    assert edited.json()["revision"] > study["revision"]
    assert [param["name"] for param in edited.json()["search_space"]] == ["x", "y"]
    api.ask(count=5)
    params = _params(api)
    assert params[: len(before)] == before
    new = [one for one in params if "y" in one]
    assert len(new) >= 5
    assert all(one["x"] <= one["y"] for one in new)
    refused(
        _edit(api, search_space=[*wide, {"type": "float", "name": "z", "low": 0, "high": 1}]), "/search_space/2/default"
    )
    refused(_edit(api, search_space=[X | {"low": 2}]), "/search_space/0/low")
    assert _edit(api, search_space=[{"type": "fixed", "name": "x", "value": 0.5}, wide[1]]).status_code == 200
    made = len(_params(api))
    while len(_params(api)) < 12:
        api.ask()
    assert all(one["x"] == 0.5 for one in _params(api)[made:])


def test_a_space_that_was_laid_out_at_the_start_cannot_be_edited(api: Api) -> None:
    space = [{"type": "categorical", "name": "x", "choices": [1, 2, 3]}]
    api.create(search_space=space, sampler={"type": "grid"}, advance=False)
    message = refused(
        _edit(api, search_space=[{"type": "categorical", "name": "x", "choices": [1, 2]}]), "/search_space"
    )
    assert "grid" in message


def test_the_rungs_of_every_bracket_are_planned_as_in_the_paper(api: Api) -> None:
    sent = spec(scheduler={"type": "hyperband", "max_resource": 81, "reduction_factor": 3}, budget={"max_trials": 143})
    planned = api.post("/studies?dry_run=true&epoch_s=36&workers=4", sent).json()
    table = {(rung["bracket"], rung["rung"]): (rung["resource"], rung["trials"]) for rung in planned["rungs"]}
    assert [table[bracket, 0] for bracket in range(5)] == [(1, 81), (3, 34), (9, 15), (27, 8), (81, 5)]
    assert [table[0, rung] for rung in range(5)] == [(1, 81), (3, 27), (9, 9), (27, 3), (81, 1)]
    assert planned["gpu_hours"] == pytest.approx(planned["epochs"] / 100)
    assert planned["hours"] == pytest.approx(planned["epochs"] / 400)
    assert planned["epochs_low"] == planned["epochs"] == planned["epochs_high"]
