"""A confirmation of a study that is searched on or deleted, and a contest without one of its studies."""

from tests.integration.api.caller import Api, problem
from tests.integration.api.test_confirmation import clean, drain, searched
from tests.integration.api.test_contests import contest


def test_a_study_that_is_extended_is_confirmed_anew(api: Api) -> None:
    study, child = searched(api)
    extended = api.post("/studies/s/extend", {"budget": {"max_trials": 5}}).json()
    assert (extended["state"], extended["confirmation"]) == ("running", None)
    assert api.get("/studies/s.confirm").json()["state"] == "cancelled"
    drain(api, study, score=lambda trial: 0.95)
    done = api.get("/studies/s").json()
    assert (done["state"], done["confirmation"]["study"]) == ("finished", "s.confirm-2")
    again = api.get("/studies/s.confirm-2").json()
    drain(api, again, score=lambda trial: 0.9)
    found = api.get("/studies/s/best?confirmed=true").json()
    assert found["recommendation"]["trial"] == 4
    assert [condition["type"] for condition in api.get("/studies/s").json()["conditions"]] == ["Ended"]
    clean(api, study, child, again)


def test_a_confirming_study_is_not_extended_itself(api: Api) -> None:
    searched(api)
    detail = problem(api.post("/studies/s.confirm/extend", {"budget": {"max_trials": 99}}), 409, "invalid_state")[
        "detail"
    ]
    assert "the one that it confirms" in detail


def test_a_study_under_confirmation_is_deleted_with_it_by_force(api: Api) -> None:
    searched(api)
    assert "s.confirm" in problem(api.call("DELETE", "/studies/s"), 409, "invalid_state")["detail"]
    assert api.call("DELETE", "/studies/s?force=true").status_code == 202
    for name in ("s", "s.confirm"):
        problem(api.get(f"/studies/{name}"), 404, "not_found")
    assert api.get("/studies?confirmations=true").json()["items"] == []


def test_a_confirming_study_that_is_deleted_alone_leaves_word_of_it(api: Api) -> None:
    searched(api)
    assert api.call("DELETE", "/studies/s.confirm?force=true").status_code == 202
    found = api.get("/studies/s").json()["confirmation"]
    assert (found["state"], "cancelled" in found["reason"]) == ("failed", True)


def test_a_contest_goes_on_without_a_study_that_was_deleted(api: Api) -> None:
    api.post("/contests", contest())
    assert api.call("DELETE", "/studies/c.random.s3?force=true").status_code == 202
    shown = api.get("/contests/c").json()
    assert {study["name"] for study in shown["studies"]} == {"c.random.s5", "c.halving.s3", "c.halving.s5"}
    assert shown["complete"] == "0/3"
    assert api.get("/contests/c/result").status_code == 200
    for name in ("c.random.s5", "c.halving.s3", "c.halving.s5"):
        api.call("DELETE", f"/studies/{name}?force=true")
    assert api.get("/contests/c").json()["studies"] == []
    assert api.get("/contests").status_code == 200
    assert api.get("/contests/c/result").status_code == 200
