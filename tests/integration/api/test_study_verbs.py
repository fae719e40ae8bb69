"""Studies searched on, copied, put away and deleted."""

from typing import Any
from uuid import UUID

import pytest

from tests.audit import audit
from tests.integration.api.caller import V1, Api, Json, problem, refused

ASHA = {"type": "asha", "min_resource": 1, "max_resource": 3, "reduction_factor": 3}


def _finish(api: Api, name: str = "s", count: int = 1, loss: float = 0.5) -> Json:
    """Train ``count`` trials whole; control ends the study."""
    for trial in api.ask(name, count=count):
        api.report(trial, trial["target_step"], loss)
    study: Json = api.get(f"/studies/{name}").json()
    api.advance(study)
    ended: Json = api.get(f"/studies/{name}").json()
    return ended


def _violations(api: Api, study: Json) -> list[str]:
    url = api.hand.db.engine.url.render_as_string(hide_password=False)
    return audit(url, study["id"])


# extend


def test_a_finished_study_runs_again_and_ends_again(api: Api) -> None:
    api.create(budget={"max_trials": 1})
    done = _finish(api)
    assert (done["state"], done["state_reason"]) == ("finished", "max_trials")
    answer = api.post("/studies/s/extend", {"budget": {"max_trials": 2, "max_epochs": 50}})
    assert answer.status_code == 200, answer.text
    study = answer.json()
    assert (study["state"], study["state_reason"], study["finished_at"]) == ("running", None, None)
    assert (study["budget"]["max_trials"], study["budget"]["max_epochs"]) == (2, 50)
    assert study["revision"] == done["revision"] + 1
    api.advance(study)
    assert _finish(api)["counts"]["complete"] == 2
    assert _violations(api, study) == []


def test_trials_that_waited_at_the_end_wait_again_and_may_be_promoted(api: Api) -> None:
    api.create(scheduler=ASHA, budget={"max_trials": 2})
    for trial, loss in zip(api.ask(count=2), (0.1, 0.2), strict=True):
        assert api.report(trial, 1, loss).json()["decision"] == "pause"
    study = api.get("/studies/s").json()
    api.advance(study)
    ended = api.get("/studies/s").json()
    assert (ended["state"], ended["counts"]["pruned"]) == ("finished", 2)
    api.post("/studies/s/extend", {"budget": {"max_trials": 3}})
    api.advance(study)
    assert api.get("/studies/s").json()["counts"] | {"queued": 0} == dict.fromkeys(ended["counts"], 0) | {"paused": 2}
    (third,) = api.ask()
    assert api.report(third, 1, 0.9).json()["decision"] == "pause"
    api.advance(study)
    (promoted,) = api.ask()
    assert (promoted["number"], promoted["last_step"], promoted["target_step"]) == (0, 1, 3)
    assert _violations(api, study) == []


@pytest.mark.parametrize(
    ("budget", "body", "pointer"),
    [
        ({"max_trials": 1}, {}, "/budget/max_trials"),
        ({"max_trials": 1}, {"budget": {"max_trials": 1}}, "/budget/max_trials"),
        ({"max_trials": 1}, {"budget": {"max_epochs": 99}}, "/budget/max_trials"),
        ({"max_trials": 9, "max_epochs": 3}, {"budget": {"max_trials": 20}}, "/budget/max_epochs"),
        ({"max_trials": 9, "max_epochs": 3}, {"budget": {"max_epochs": 5}}, "/budget/max_epochs"),
    ],
)
def test_the_bound_that_ended_it_must_be_raised(api: Api, budget: Json, body: Json, pointer: str) -> None:
    api.create(budget=budget)
    before = _finish(api)
    assert before["state"] == "finished"
    refused(api.post("/studies/s/extend", body), pointer, "not_raised")
    after = api.get("/studies/s").json()
    assert (after["state"], after["revision"], after["budget"]) == ("finished", before["revision"], before["budget"])


def test_n_full_is_raised_where_it_ended_the_study(api: Api) -> None:
    stopping = ASHA | {"mode": "stop", "n_full": 1}
    study = api.create(scheduler=stopping, budget={"max_trials": 9})
    (trial,) = api.ask()
    api.report(trial, 1, 0.1)
    assert api.report(trial, 3, 0.1).json()["decision"] == "complete"
    api.advance(study)
    assert api.get("/studies/s").json()["state_reason"] == "n_full"
    refused(api.post("/studies/s/extend", {"budget": {"max_trials": 20}}), "/n_full", "not_raised")
    extended = api.post("/studies/s/extend", {"n_full": 2}).json()
    assert (extended["state"], extended["scheduler"]["n_full"]) == ("running", 2)
    (second,) = api.ask()
    api.report(second, 1, 0.05)
    assert api.report(second, 3, 0.1).json()["decision"] == "complete"
    api.advance(study)
    assert api.get("/studies/s").json()["counts"]["complete"] == 2
    assert _violations(api, study) == []
    api.create("fifo")
    refused(api.post("/studies/fifo/extend", {"n_full": 2}), "/n_full", "not_asha")


def test_a_study_that_runs_is_only_given_more(api: Api) -> None:
    api.create()
    for verb in ("resume", "pause"):
        api.post(f"/studies/s/{verb}")
        study = api.post("/studies/s/extend", {"budget": {"max_trials": 10}}).json()
        assert (study["state"], study["budget"]["max_trials"]) == ("running" if verb == "resume" else "paused", 10)
    refused(api.post("/studies/s/extend", {"budget": {"max_trials": 0}}), "/budget/max_trials")


def test_a_study_that_somebody_stopped_can_simply_go_on(api: Api) -> None:
    study = api.create()
    api.post("/studies/s/stop")
    api.advance(study)
    stopped = api.get("/studies/s").json()
    assert (stopped["state"], stopped["state_reason"]) == ("finished", "user")
    assert api.post("/studies/s/extend", {}).json()["state"] == "running"
    api.advance(study)
    assert len(api.ask(count=4)) == 4
    assert _violations(api, study) == []


@pytest.mark.parametrize("end", ["cancelled", "failed", "goal"])
def test_what_cannot_be_searched_on_says_what_to_do_instead(api: Api, end: str) -> None:
    objectives = [{"metric": "loss", "direction": "minimize", "goal": 0.1}]
    study = api.create(objectives=objectives, budget={"max_trials": 2, "max_failed": 0})
    (trial,) = api.ask()
    if end == "cancelled":
        api.post("/studies/s/cancel")
    elif end == "failed":
        api.tell(trial, state="failed", error={"type": "user_error"})
    else:
        api.report(trial, 3, 0.01)
    api.advance(study)
    body = problem(api.post("/studies/s/extend", {"budget": {"max_trials": 99}}), 409, "invalid_state")
    assert "clone" in body["detail"]


# clone


def test_a_clone_is_a_new_study_with_the_same_definition(api: Api) -> None:
    study = api.create(labels={"team": "x"}, description="first", scheduler=ASHA)
    answer = api.post("/studies/s/clone", {"name": "t"})
    assert answer.status_code == 201, answer.text
    clone = answer.json()
    assert answer.headers["location"] == f"{V1}/studies/{clone['id']}"
    assert (clone["name"], clone["state"], set(clone["counts"].values())) == ("t", "running", {0})
    for field in ("labels", "description", "scheduler", "sampler", "search_space", "budget", "trainer", "objectives"):
        assert clone[field] == study[field], field


def test_changes_are_merged_into_the_clone(api: Api) -> None:
    api.create(labels={"team": "x", "run": "1"}, budget={"max_trials": 7, "max_epochs": 90})
    changes = {
        "labels": {"run": None, "new": "y"},
        "budget": {"max_trials": 9, "max_epochs": None},
        "sampler": {"type": "tpe"},
        "search_space": [{"type": "int", "name": "k", "low": 1, "high": 3}],
    }
    clone = api.post("/studies/s/clone", {"name": "t", "changes": changes, "start": False}).json()
    assert (clone["state"], clone["labels"]) == ("created", {"team": "x", "new": "y"})
    assert (clone["budget"]["max_trials"], clone["budget"]["max_epochs"]) == (9, None)
    assert (clone["sampler"]["type"], isinstance(clone["sampler"]["seed"], int)) == ("tpe", True)
    assert [param["name"] for param in clone["search_space"]] == ["k"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "a b"}, "/name"),
        ({}, "/name"),
        ({"name": "t", "changes": {"name": "u"}}, "/changes/name"),
        ({"name": "t", "changes": {"nonsense": 1}}, "/changes/nonsense"),
        ({"name": "t", "changes": {"budget": {"max_trials": 0}}}, "/changes/budget/max_trials"),
        ({"name": "t", "changes": {"budget": 3}}, "/changes/budget"),
        ({"name": "t", "changes": {"trainer": {"name": "nobody"}}}, "/changes/trainer/name"),
        ({"name": "t", "changes": []}, "/changes"),
        ({"name": "t", "start": 1}, "/start"),
        ({"name": "t", "extra": 1}, "/extra"),
    ],
)
def test_a_clone_that_cannot_be_names_the_field_and_creates_nothing(api: Api, body: Json, pointer: str) -> None:
    api.create()
    refused(api.post("/studies/s/clone", body), pointer)
    assert api.stored() == 1


def test_a_clones_name_must_be_free(api: Api) -> None:
    api.create()
    problem(api.post("/studies/s/clone", {"name": "s"}), 409, "name_taken")


# archive


def test_an_archived_study_is_left_out_of_lists_and_takes_no_changes(api: Api) -> None:
    api.create(budget={"max_trials": 1})
    api.create("other", advance=False)
    problem(api.post("/studies/s/archive"), 409, "invalid_state")
    _finish(api)
    for _ in range(2):
        archived = api.post("/studies/s/archive")
        assert archived.status_code == 200
    assert archived.json()["archived_at"] is not None

    def listed(query: str = "") -> set[str]:
        return {study["name"] for study in api.get(f"/studies{query}").json()["items"]}

    assert (listed(), listed("?archived=true")) == ({"other"}, {"s", "other"})
    assert api.get("/studies/s").json()["id"] == archived.json()["id"]
    for answer in (
        api.call("PATCH", "/studies/s", {"labels": {"a": "b"}}),
        api.post("/studies/s/extend", {"budget": {"max_trials": 9}}),
        api.post("/studies/s/trials", {"params": {"x": 0.5}}),
    ):
        assert "unarchive" in problem(answer, 409, "invalid_state")["detail"]
    assert api.post("/studies/s/clone", {"name": "t"}).status_code == 201
    for _ in range(2):
        assert api.post("/studies/s/unarchive").json()["archived_at"] is None
    assert listed() == {"s", "other", "t"}
    assert api.call("PATCH", "/studies/s", {"labels": {"a": "b"}}).status_code == 200


# lists


def test_studies_are_found_by_a_part_of_their_name_and_put_in_order(api: Api) -> None:
    for name in ("beta_1", "Alpha", "gamma-100"):
        api.create(name, advance=False)

    def listed(query: str) -> list[str]:
        return [study["name"] for study in api.get(f"/studies?{query}").json()["items"]]

    assert listed("name=ALP") == ["Alpha"]
    assert listed("name=a_1") == ["beta_1"]  # an underscore is one, not any character
    assert listed("name=%25") == []
    assert listed("order_by=name") == sorted(listed("order_by=name"))
    assert listed("order_by=-name") == listed("order_by=name")[::-1]
    assert listed("order_by=created_at") == ["beta_1", "Alpha", "gamma-100"]
    assert listed("order_by=-created_at") == ["gamma-100", "Alpha", "beta_1"]
    first = api.get("/studies?order_by=name&page_size=2").json()
    rest = api.get(f"/studies?order_by=name&page_size=2&page_token={first['next_page_token']}").json()
    assert [one["name"] for one in (*first["items"], *rest["items"])] == listed("order_by=name")
    problem(api.get(f"/studies?order_by=-name&page_token={first['next_page_token']}"), 400, "malformed")


# delete


def _gone(api: Api, ref: str) -> None:
    for path in ("", "/trials", "/rungs", "/best", "/trials/0", "/trials/0/attempts", "/curves"):
        problem(api.get(f"/studies/{ref}{path}"), 404, "not_found")
    for verb in ("pause", "archive", "extend", "clone"):
        problem(api.post(f"/studies/{ref}/{verb}", {} if verb == "extend" else {"name": "u"}), 404, "not_found")
    problem(api.call("DELETE", f"/studies/{ref}"), 404, "not_found")


def test_a_deleted_study_is_gone_at_once_and_its_name_is_free(api: Api) -> None:
    api.create(budget={"max_trials": 1})
    study = _finish(api)
    etag = api.get("/studies/s").headers["etag"]
    problem(api.call("DELETE", "/studies/s", headers={"If-Match": '"1"'}), 412, "stale_revision")
    answer = api.call("DELETE", "/studies/s", headers={"If-Match": etag})
    assert (answer.status_code, answer.json()) == (202, {"id": study["id"], "name": "s"})
    _gone(api, "s")
    _gone(api, study["id"])
    assert api.get("/studies?archived=true").json()["items"] == []
    again = api.create()
    assert again["id"] != study["id"]
    assert api.get("/studies/s/trials").json()["items"][0]["state"] == "queued"


def test_a_study_that_runs_is_deleted_by_force_only_and_its_workers_are_told(api: Api) -> None:
    study = api.create()
    (trial,) = api.ask()
    assert "force" in problem(api.call("DELETE", "/studies/s"), 409, "invalid_state")["detail"]
    assert api.call("DELETE", "/studies/s?force=true").status_code == 202
    _gone(api, study["id"])
    path = f"/studies/{study['id']}/trials/{trial['number']}"
    beat = api.post(f"{path}/heartbeat", {"lease": trial["lease"]["token"]}, scope="worker")
    assert beat.json()["stop"] == "cancel"
    assert api.post(f"{path}/release", {"lease": trial["lease"]["token"]}, scope="worker").status_code == 204
    assert api.hand.scalar("SELECT running FROM study WHERE id = %(id)s", id=study["id"]) == 0


def test_a_study_that_never_started_is_simply_deleted(api: Api) -> None:
    api.create(start=False, advance=False)
    assert api.call("DELETE", "/studies/s").status_code == 202


@pytest.mark.parametrize("verb", ["extend", "clone", "archive", "unarchive"])
def test_only_the_own_projects_studies_can_be_handled(api: Api, other: Api, verb: str) -> None:
    study = api.create()
    body: dict[str, Any] | None = {"name": "t"} if verb == "clone" else {} if verb == "extend" else None
    for ref in ("s", study["id"], str(UUID(int=1)), "unknown"):
        problem(other.post(f"/studies/{ref}/{verb}", body), 404, "not_found")
        problem(other.call("DELETE", f"/studies/{ref}?force=true"), 404, "not_found")
    assert api.get("/studies/s").json()["state"] == "running"
