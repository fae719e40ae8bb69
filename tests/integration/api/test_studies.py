"""Studies over HTTP: created, listed, changed, commanded."""

from typing import Any

import pytest

from tests.integration.api.caller import V1, Api, Json, problem, refused, spec


def test_a_created_study_says_where_it_is_and_its_revision(api: Api) -> None:
    answer = api.post("/studies", spec("first", labels={"team": "vision"}, description="naïve ☃"))
    assert answer.status_code == 201
    study = answer.json()
    assert answer.headers["location"] == f"{V1}/studies/{study['id']}"
    assert answer.headers["etag"] == '"1"'
    assert (study["state"], study["revision"], study["best"]) == ("running", 1, None)
    assert (study["labels"], study["description"]) == ({"team": "vision"}, "naïve ☃")
    assert set(study["counts"].values()) == {0}
    assert study["conditions"] == []
    assert api.client.get(answer.headers["location"], headers=_key(api)).json() == study


def test_a_study_without_live_workers_says_how_to_start_one(api: Api) -> None:
    (condition,) = api.create(trainer={"name": "synthetic"})["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("WorkersAvailable", False, "NoLiveWorker")
    assert "ladder worker --queue cpu" in condition["message"]


def _key(api: Api) -> dict[str, str]:
    return {"Authorization": f"Bearer {api.tokens['read']}"}


def test_a_study_without_a_seed_is_given_one(api: Api) -> None:
    study = api.create(sampler={"type": "random"})
    assert isinstance(study["sampler"]["seed"], int)
    assert api.get("/studies/s").json()["sampler"] == study["sampler"]


def test_a_dry_run_shows_the_rungs_and_stores_nothing(api: Api) -> None:
    sent = spec(scheduler={"type": "asha", "max_resource": 9}, budget={"max_trials": 9})
    answer = api.post("/studies?dry_run=true", sent)
    assert answer.status_code == 200
    plan = answer.json()
    assert [(r["resource"], r["trials"]) for r in plan["rungs"]] == [(1, 9), (3, 3), (9, 1)]
    assert (plan["epochs"], plan["epochs_without_pruning"]) == (9 + 3 * 2 + 6, 81)
    assert api.stored() == 0


def test_a_name_is_taken_within_its_project_only(api: Api, other: Api) -> None:
    api.create("same")
    problem(api.post("/studies", spec("same")), 409, "name_taken")
    assert other.post("/studies", spec("same")).status_code == 201
    assert api.stored() == 1


def test_a_study_is_found_by_name_and_by_id_in_any_case(api: Api) -> None:
    study = api.create("Mixed.Case-1", advance=False)
    for ref in ("Mixed.Case-1", study["id"], study["id"].upper()):
        answer = api.get(f"/studies/{ref}")
        assert answer.json()["id"] == study["id"]
        assert answer.headers["etag"].startswith('W/"1-')
    problem(api.get("/studies/mixed.case-1"), 404, "not_found")


def _names(api: Api, query: str) -> list[str]:
    return [study["name"] for study in api.get(f"/studies?{query}").json()["items"]]


def test_studies_are_listed_by_state_label_and_time(api: Api) -> None:
    api.create("a", advance=False, labels={"team": "x", "run": "1"})
    api.create("b", advance=False, labels={"team": "x"})
    api.create("c", advance=False, start=False)
    assert _names(api, "") == ["c", "b", "a"]
    assert _names(api, "order_by=updated_at") == ["a", "b", "c"]
    assert _names(api, "state=created") == ["c"]
    assert _names(api, "state=created&state=running") == ["c", "b", "a"]
    assert _names(api, "label=team:x") == ["b", "a"]
    assert _names(api, "label=team:x&label=run:1") == ["a"]
    assert _names(api, "label=team:y") == []


@pytest.mark.parametrize("order", ["-updated_at", "updated_at"])
def test_pages_of_studies_have_no_gap_and_no_double_while_more_are_created(api: Api, order: str) -> None:
    before = [api.create(f"s{n}", advance=False)["name"] for n in range(5)]
    seen: list[str] = []
    token, rounds = "", 0
    while True:
        page = api.get(f"/studies?order_by={order}&page_size=2{token}").json()
        seen += [study["name"] for study in page["items"]]
        rounds += 1
        if rounds == 1:
            api.create("later", advance=False)
        if page["next_page_token"] is None:
            break
        token = f"&page_token={page['next_page_token']}"
    assert len(seen) == len(set(seen))
    assert [name for name in seen if name != "later"] == (before if order == "updated_at" else before[::-1])


def test_a_page_token_is_for_the_same_filters_only(api: Api) -> None:
    for n in range(3):
        api.create(f"s{n}", advance=False)
    token = api.get("/studies?page_size=1").json()["next_page_token"]
    assert api.get(f"/studies?page_size=2&page_token={token}").status_code == 200
    problem(api.get(f"/studies?page_size=1&state=running&page_token={token}"), 400, "malformed")
    problem(api.get(f"/studies?page_size=1&order_by=updated_at&page_token={token}"), 400, "malformed")


def test_a_change_of_the_budget_needs_the_current_revision(api: Api) -> None:
    api.create(advance=False)
    changed = api.call("PATCH", "/studies/s", {"budget": {"max_trials": 9}}, headers={"If-Match": '"1"'})
    assert changed.status_code == 200
    assert changed.headers["etag"] == '"2"'
    assert changed.json()["budget"]["max_trials"] == 9
    stale = api.call("PATCH", "/studies/s", {"budget": {"max_trials": 5}}, headers={"If-Match": '"1"'})
    problem(stale, 412, "stale_revision")
    read = api.get("/studies/s").headers["etag"]
    assert api.call("PATCH", "/studies/s", {}, headers={"If-Match": read}).status_code == 200
    unguarded = api.call("PATCH", "/studies/s", {"description": "new", "labels": {"a": "b"}})
    study = unguarded.json()
    assert (study["budget"]["max_trials"], study["description"], study["labels"]) == (9, "new", {"a": "b"})
    problem(api.call("PATCH", "/studies/s", {}, headers={"If-Match": "abc"}), 400, "malformed")


def test_null_lifts_a_bound_that_may_be_absent(api: Api) -> None:
    api.create(advance=False, budget={"max_trials": 4, "max_epochs": 100})
    study = api.call("PATCH", "/studies/s", {"budget": {"max_epochs": None}}).json()
    assert study["budget"]["max_epochs"] is None
    assert study["budget"]["max_trials"] == 4


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"budget": None}, "/budget"),
        ({"labels": None}, "/labels"),
        ({"description": None}, "/description"),
        ({"budget": {"max_trials": None}}, "/budget/max_trials"),
        ({"budget": {"max_failed": None}}, "/budget/max_failed"),
        ({"budget": {"max_trials": 0}}, "/budget/max_trials"),
        ({"budget": {"max_wall_s": True}}, "/budget/max_wall_s"),
        ({"name": "other"}, "/name"),
        ({"labels": {"a": 1}}, "/labels/a"),
    ],
)
def test_a_change_that_cannot_be_leaves_the_study_as_it_was(api: Api, body: Json, pointer: str) -> None:
    before = api.create(advance=False)
    refused(api.call("PATCH", "/studies/s", body), pointer)
    assert api.get("/studies/s").json() == before


def test_a_budget_cannot_fall_below_what_is_spent(api: Api) -> None:
    api.create()
    trials = api.ask(count=2)
    assert api.report(trials[0], 2).status_code == 200
    for body, words in (
        ({"max_trials": 1}, "at least 2"),
        ({"max_epochs": 5}, "at least 6"),
        ({"max_concurrent": 1}, "2"),
    ):
        message = refused(
            api.call("PATCH", "/studies/s", {"budget": body}), f"/budget/{next(iter(body))}", "below_spent"
        )
        assert words in message
    assert api.call("PATCH", "/studies/s", {"budget": {"max_epochs": 6}}).status_code == 200


def _states(api: Api, *verbs: str) -> list[str]:
    return [api.post(f"/studies/s/{verb}").json().get("state", "refused") for verb in verbs]


def test_a_study_that_was_not_started_waits_for_start(api: Api) -> None:
    study = api.create(start=False)
    assert study["state"] == "created"
    assert api.post("/studies/s/ask", {"worker": "w"}).json()["reason"] == "paused"
    started = api.post("/studies/s/start")
    assert started.status_code == 200
    assert started.json()["state"] == "running"
    assert started.headers["etag"] == '"2"'
    assert len(api.ask()) == 1


@pytest.mark.parametrize(
    ("start", "verbs", "state"),
    [
        (True, ["pause", "pause"], "paused"),
        (True, ["pause", "resume", "resume"], "running"),
        (True, ["start"], "running"),
        (True, ["stop", "stop"], "stopping"),
        (True, ["cancel", "cancel"], "cancelled"),
        (False, ["start", "start"], "running"),
        (False, ["cancel"], "cancelled"),
        (True, ["pause", "stop"], "stopping"),
    ],
)
def test_a_verb_may_be_repeated_and_changes_nothing_then(api: Api, start: bool, verbs: list[str], state: str) -> None:
    api.create(start=start, advance=False)
    answers = [api.post(f"/studies/s/{verb}") for verb in verbs]
    assert [answer.status_code for answer in answers] == [200] * len(verbs)
    assert answers[-1].json()["state"] == state
    if len(verbs) > 1 and verbs[-1] == verbs[-2]:
        assert answers[-1].json()["revision"] == answers[-2].json()["revision"]


@pytest.mark.parametrize(
    ("before", "verb"),
    [
        (["pause"], "start"),
        (["stop"], "pause"),
        (["stop"], "resume"),
        (["cancel"], "start"),
        (["cancel"], "resume"),
        (["cancel"], "stop"),
        (["cancel"], "pause"),
    ],
)
def test_a_verb_that_the_state_forbids_is_refused(api: Api, before: list[str], verb: str) -> None:
    api.create(advance=False)
    state = _states(api, *before)[-1]
    body = problem(api.post(f"/studies/s/{verb}"), 409, "invalid_state")
    assert state in body["detail"]
    assert api.get("/studies/s").json()["state"] == state


@pytest.mark.parametrize("verb", ["start", "resume", "pause", "cancel"])
def test_a_finished_study_stays_finished(api: Api, verb: str) -> None:
    study = api.create(budget={"max_trials": 1})
    (trial,) = api.ask()
    assert api.report(trial, 3).json()["decision"] == "complete"
    api.advance(study)
    done = api.get("/studies/s").json()
    assert (done["state"], done["state_reason"]) == ("finished", "max_trials")
    assert api.post("/studies/s/stop").json()["state"] == "finished"
    problem(api.post(f"/studies/s/{verb}"), 409, "invalid_state")


@pytest.mark.parametrize("verb", ["pause", "resume", "stop", "cancel"])
def test_a_study_that_was_not_started_can_only_start_or_be_cancelled(api: Api, verb: str) -> None:
    api.create(start=False)
    answer = api.post(f"/studies/s/{verb}")
    if verb == "cancel":
        assert answer.json()["state"] == "cancelled"
    else:
        problem(answer, 409, "invalid_state")


ASHA = {"type": "asha", "min_resource": 1, "max_resource": 3, "reduction_factor": 3}


def test_rungs_and_best_trials_show_what_the_scheduler_has_decided(api: Api) -> None:
    study = api.create(
        scheduler=ASHA, budget={"max_trials": 6}, objectives=[{"metric": "acc", "direction": "maximize"}]
    )
    trials = api.ask(count=6)
    decisions = [
        api.report(trial, 1, metrics={"acc": acc, "extra": extra}).json()["decision"]
        for trial, acc, extra in zip(trials, (0.5, 0.6, 0.7, 0.1, 0.2, 0.3), (1, 2, "nan", 4, 5, 6), strict=True)
    ]
    assert decisions[:2] == ["pause", "pause"]
    assert decisions[2] == "continue"
    api.advance(study)
    first, last = api.get("/studies/s/rungs").json()["items"]
    assert (first["resource"], first["reported"], last["resource"], last["reported"]) == (1, 6, 3, 0)
    assert (first["promoted"], first["waiting"], last["running"]) == (2, 4, 1)
    best: list[dict[str, Any]] = api.get("/studies/s/best?top=2").json()["items"]
    assert [(b["value"], b["step"], b["metrics"]["acc"]) for b in best] == [(0.7, 1, 0.7), (0.6, 1, 0.6)]
    assert best[0]["metrics"]["extra"] is None
    assert api.get("/studies/s").json()["best"]["number"] == best[0]["number"]
    assert len(api.get("/studies/s/best").json()["items"]) == 5
