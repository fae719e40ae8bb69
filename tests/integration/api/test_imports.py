"""Studies that have run elsewhere, taken in page by page."""

from typing import Any
from uuid import UUID

import pytest

from hpo.domain.events import Event, EventType
from hpo.replay import replay
from hpo.spec.study import StudySpec
from hpo.storage.replay import events
from tests.integration.api.caller import Api, Json, problem, refused, spec

AT = "2026-01-02T03:04:05Z"
LATER = "2026-01-02T03:05:05Z"


def trial(number: int, **changes: Any) -> Json:
    return {"number": number, "state": "complete", "params": {"x": 0.5}, "values": [0.1 * (number + 1)], **changes}


def page(*trials: Json, **changes: Any) -> Json:
    return {"study": spec("old", **changes), "source": "optuna: old", "trials": list(trials)}


MIXED = [
    trial(0, curve=[[1, 0.9], [3, 0.5]], started_at=AT, finished_at=LATER),
    trial(1, state="pruned", curve=[[1, 0.8]], values=[0.8]),
    trial(2, state="failed", values=None, error="out of memory"),
    trial(3, state="cancelled", values=None, params={}),
]


def test_an_imported_study_stands_there_finished_with_its_trials(api: Api) -> None:
    answer = api.post("/studies/import", page(*MIXED))
    assert answer.status_code == 201, answer.text
    study = answer.json()
    assert answer.headers["location"] == f"/api/v1/studies/{study['id']}"
    assert (study["state"], study["state_reason"], study["usage"]["epochs"]) == ("finished", "imported", 4)
    assert {state: count for state, count in study["counts"].items() if count} == {
        "complete": 1, "pruned": 1, "failed": 1, "cancelled": 1,
    }  # fmt: skip
    assert (study["best"]["number"], study["best"]["value"]) == (0, 0.1)
    shown = api.get("/studies/old/trials").json()["items"]
    assert [(one["number"], one["state"], one["value"], one["last_step"]) for one in shown] == [
        (0, "complete", 0.1, 3), (1, "pruned", 0.8, 1), (2, "failed", None, 0), (3, "cancelled", None, 0),
    ]  # fmt: skip
    assert shown[2]["error"] == {"type": "imported", "message": "out of memory"}
    assert (shown[0]["created_at"], shown[0]["finished_at"]) == (AT, LATER)
    steps = api.get("/studies/old/trials/0/metrics").json()["items"]
    assert [(one["step"], one["metrics"]) for one in steps] == [(1, {"loss": 0.9}), (3, {"loss": 0.5})]
    (attempt,) = api.get("/studies/old/trials/0/attempts").json()["items"]
    assert (attempt["started_at"], attempt["ended_at"], attempt["worker"]) == (AT, LATER, "imported")


def test_pages_follow_each_other_and_repeating_one_changes_nothing(api: Api) -> None:
    first = page(trial(0), trial(1))
    assert api.post("/studies/import", first).status_code == 201
    assert api.post("/studies/import", first).status_code == 200
    begun_again = api.post("/studies/import", page(trial(1, values=[0.9]), trial(2)))
    assert begun_again.status_code == 200, begun_again.text
    values = [one["value"] for one in api.get("/studies/old/trials").json()["items"]]
    assert values == pytest.approx([0.1, 0.2, 0.3])
    assert "location" not in begun_again.headers


def test_replay_says_that_imported_trials_have_no_decisions(api: Api) -> None:
    study = api.post("/studies/import", page(*MIXED)).json()
    log: list[Event] = api.hand.db.read(lambda tx: events(tx, UUID(study["id"])))
    told = [(one.type, one.trial, one.data.get("imported")) for one in log if one.trial == 0]
    assert told == [(EventType.TRIAL_CREATED, 0, True), (EventType.TRIAL_FINISHED, 0, True)]
    derived = replay(StudySpec.model_validate({k: v for k, v in study.items() if k in StudySpec.model_fields}), log)
    assert derived.difference is None
    assert (derived.imported, derived.decisions, derived.suggestions) == (4, 0, 0)


def test_several_objectives_constraints_and_what_is_not_finite_are_kept(api: Api) -> None:
    two = [{"metric": "acc", "direction": "maximize"}, {"metric": "cost", "direction": "minimize"}]
    bound = [{"metric": "size", "op": "<=", "value": 1.0}]
    body = page(
        trial(0, values=[0.9, 3.0], metrics={"size": 0.5}),
        trial(1, values=[0.99, 1.0], metrics={"size": 2.0}),
        trial(2, values=[0.5, "inf"], metrics={"size": 0.5}),
        trial(3, values=[1.0, 0.5], metrics={"size": "inf"}),
        objectives=two, constraints=bound,
    )  # fmt: skip
    assert api.post("/studies/import", body).status_code == 201
    front = api.get("/studies/old/pareto").json()["items"]
    assert [(one["number"], one["values"]) for one in front] == [(0, [0.9, 3.0])]
    for number in (2, 3):
        diverged = api.get(f"/studies/old/trials/{number}").json()
        assert (diverged["state"], diverged["value"], diverged["non_finite"]) == ("pruned", None, "inf")


TWO_POINTS = [{"type": "float", "name": "x", "low": 0, "high": 0.5, "step": 0.5}]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (page(trial(0), trial(2)), "/trials/1/number"),
        (page(trial(1)), "/trials/0/number"),
        (page(trial(4)), "/trials/0/number"),
        (page(trial(0, params={"y": 1})), "/trials/0/params/y"),
        (page(trial(0, params={"x": 3})), "/trials/0/params/x"),
        (page(trial(0, values=None)), "/trials/0/values"),
        (page(trial(0, values=[1, 2])), "/trials/0/values"),
        (page(trial(0, curve=[[2, 1], [1, 1]])), "/trials/0/curve"),
        (page(trial(0, curve=[[4, 1]])), "/trials/0/curve"),
        (page(trial(0), constraints=[{"metric": "m", "op": "<=", "value": 1}]), "/trials/0/metrics"),
        (page(trial(0), trainer={"name": "synthetic"}), "/study/trainer/name"),
        (page(trial(0, started_at="2026-01-02T03:04:05")), "/trials/0/started_at"),
        (page(trial(0), sampler={"type": "grid"}), "/study/search_space/0/step"),
        (page(trial(0), trial(1), trial(2), sampler={"type": "grid"}, search_space=TWO_POINTS), "/trials/2/number"),
        (page(trial(0), trial(1), budget={"max_trials": 9, "max_epochs": 5}), "/study/budget/max_epochs"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_stored(api: Api, body: Json, pointer: str) -> None:
    refused(api.post("/studies/import", body), pointer)
    assert api.stored() == 0


def test_a_name_that_is_another_study_is_a_conflict(api: Api) -> None:
    api.create("old", advance=False)
    problem(api.post("/studies/import", page(trial(0))), 409, "name_taken")
    assert api.get("/studies/old/trials").json()["items"] == []


def test_another_import_of_the_same_name_is_a_conflict(api: Api) -> None:
    api.post("/studies/import", page(trial(0)))
    other = {**page(trial(1)), "source": "optuna: another"}
    problem(api.post("/studies/import", other), 409, "name_taken")
    problem(api.post("/studies/import", page(trial(1), description="changed")), 409, "name_taken")


def test_an_imported_study_goes_on_when_it_is_extended(api: Api) -> None:
    study = api.post("/studies/import", page(trial(0, params={}), *MIXED[1:])).json()
    answer = api.post("/studies/old/extend", {"budget": {"max_trials": 8}})
    assert answer.status_code == 200, answer.text
    api.advance(study)
    (fresh,) = api.ask("old")
    assert fresh["number"] == 4
    for step in (1, 2, 3):
        api.report(fresh, step)
    log = api.hand.db.read(lambda tx: events(tx, UUID(study["id"])))
    now = api.get("/studies/old").json()
    derived = replay(StudySpec.model_validate({k: v for k, v in now.items() if k in StudySpec.model_fields}), log)
    assert derived.difference is None
    assert derived.imported == 4
    assert derived.suggestions >= 1
    problem(api.post("/studies/import", page(trial(3))), 409, "invalid_state")
