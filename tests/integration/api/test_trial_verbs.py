"""Single trials stopped and tried again; what that means for the rungs, the counts and the log."""

from typing import Any
from uuid import UUID

import pytest

from tests.audit import audit
from tests.integration.api.caller import Api, Json, problem

ASHA = {"type": "asha", "min_resource": 1, "max_resource": 3, "reduction_factor": 2}


def _trial(api: Api, number: int) -> Json:
    found: Json = api.get(f"/studies/s/trials/{number}").json()
    return found


def _clean(api: Api, study: Json) -> None:
    url = api.hand.db.engine.url.render_as_string(hide_password=False)
    assert audit(url, study["id"]) == []


def test_a_running_trial_is_asked_to_stop_and_keeps_its_result(api: Api) -> None:
    study = api.create()
    (trial,) = api.ask()
    api.report(trial, 1, 0.5)
    for _ in range(2):
        stopped = api.post("/studies/s/trials/0/stop")
        assert stopped.status_code == 200
        assert (stopped.json()["state"], stopped.json()["stop_requested"]) == ("running", "stop")
    lease = {"lease": trial["lease"]["token"]}
    assert api.post("/studies/s/trials/0/heartbeat", lease, scope="worker").json()["stop"] == "stop"
    assert api.report(trial, 2, 0.4).json()["decision"] == "stop"
    ended = _trial(api, 0)
    assert (ended["state"], ended["value"], ended["last_step"], ended["stop_requested"]) == ("pruned", 0.4, 2, None)
    assert api.post("/studies/s/trials/0/stop").json() == ended
    _clean(api, study)


def test_a_trial_that_waits_ends_at_once(api: Api) -> None:
    study = api.create(scheduler=ASHA, budget={"max_trials": 3})
    (first,) = api.ask()
    assert api.report(first, 1, 0.1).json()["decision"] == "pause"
    api.advance(study)
    paused, queued = api.post("/studies/s/trials/0/stop"), api.post("/studies/s/trials/1/stop")
    assert (paused.json()["state"], queued.json()["state"]) == ("pruned", "cancelled")
    assert api.get("/studies/s").json()["counts"] | {"queued": 0} == {
        "queued": 0, "running": 0, "paused": 0, "complete": 0, "pruned": 1, "failed": 0, "cancelled": 1
    }  # fmt: skip
    lowest, above, _ = api.get("/studies/s/rungs").json()["items"]
    # Each is entered as the worst of the rung that it was due at.
    assert [(rung["waiting"], rung["reported"]) for rung in (lowest, above)] == [(0, 2), (0, 1)]
    _clean(api, study)
    for number in (0, 1):
        assert api.post(f"/studies/s/trials/{number}/stop").status_code == 200
    _clean(api, study)


def test_nobody_waits_at_a_rung_for_a_trial_that_was_stopped(api: Api) -> None:
    halving = {"type": "successive_halving", "max_resource": 3, "reduction_factor": 3, "n_trials": 3}
    study = api.create(scheduler=halving, budget={"max_trials": 3})
    one, other, late = sorted(api.ask(count=3), key=lambda trial: trial["number"])
    assert api.report(one, 1, 0.1).json()["decision"] == "pause"
    api.report(other, 1, 0.2)
    api.post("/studies/s/trials/2/stop")
    api.post(f"/studies/s/trials/{late['number']}/release", {"lease": late["lease"]["token"]}, scope="worker")
    api.advance(study)
    (promoted,) = api.ask()
    assert (promoted["number"], promoted["last_step"]) == (0, 1)
    _clean(api, study)


def _fail(api: Api, trial: Json) -> None:
    answer = api.tell(trial, state="failed", error={"type": "user_error", "message": "no such file"})
    assert answer.json()["state"] == "failed", answer.text


def test_a_failed_trial_goes_on_from_its_checkpoint_as_one_more_attempt(api: Api) -> None:
    study = api.create(scheduler=ASHA, budget={"max_trials": 4, "max_failed": 1})
    (trial,) = api.ask()
    api.report(trial, 1, 0.5, checkpoints=[{"step": 1, "sha256": "0" * 64, "size_bytes": 1}])
    (second,) = api.ask()
    _fail(api, second)
    assert api.get("/studies/s").json()["counts"]["failed"] == 1
    retried = api.post(f"/studies/s/trials/{second['number']}/retry")
    assert retried.status_code == 200
    assert (retried.json()["state"], retried.json()["error"], retried.json()["attempt"]) == ("queued", None, 1)
    assert api.get("/studies/s").json()["counts"]["failed"] == 0
    assert api.post(f"/studies/s/trials/{second['number']}/retry").json()["state"] == "queued"
    (again,) = api.ask()
    assert (again["number"], again["attempt"]) == (second["number"], 2)
    assert api.report(again, 1, 0.1).json()["decision"] in ("pause", "continue")
    _clean(api, study)


def test_a_trial_that_failed_on_its_way_up_is_not_at_the_rung_when_it_is_retried(api: Api) -> None:
    study = api.create(scheduler=ASHA, budget={"max_trials": 4})
    one, two = sorted(api.ask(count=2), key=lambda trial: trial["number"])
    saved = {"checkpoints": [{"step": 1, "sha256": "0" * 64, "size_bytes": 1}]}
    api.report(one, 1, 0.5, **saved)
    assert api.report(two, 1, 0.1, **saved).json()["decision"] == "continue"
    _fail(api, two)

    def reported() -> list[int]:
        return [rung["reported"] for rung in api.get("/studies/s/rungs").json()["items"]]

    assert reported() == [2, 1, 0]
    api.post("/studies/s/trials/1/retry")
    assert reported() == [2, 0, 0]
    _clean(api, study)
    (again,) = api.ask()
    assert (again["number"], again["last_step"], again["target_step"]) == (1, 1, 2)
    assert [c["step"] for c in again["checkpoints"]] == [1]
    api.report(again, 2, 0.05)
    assert reported() == [2, 1, 0]
    _clean(api, study)


def test_a_cancelled_trial_is_tried_again_too(api: Api) -> None:
    study = api.create()
    api.post("/studies/s/trials/0/stop")
    assert _trial(api, 0)["state"] == "cancelled"
    assert api.post("/studies/s/trials/0/retry").json()["state"] == "queued"
    (trial,) = api.ask()
    assert trial["number"] == 0
    _clean(api, study)


def test_failures_before_a_retry_do_not_count_after_it(api: Api) -> None:
    study = api.create(retry={"max_attempts": 2}, budget={"max_trials": 1})
    for attempt in range(1, 5):
        if attempt == 3:
            assert _trial(api, 0)["state"] == "failed"
            api.post("/studies/s/trials/0/retry")
        api.hand.execute("UPDATE trial SET not_before = clock_timestamp() WHERE study_id = %(id)s", id=study["id"])
        (trial,) = api.ask()
        told = api.tell(trial, state="failed", error={"type": "infra", "retryable": True})
        assert told.json()["state"] == ("failed" if attempt % 2 == 0 else "queued")
    _clean(api, study)


@pytest.mark.parametrize("state", ["complete", "pruned"])
def test_a_trial_with_a_result_is_not_retried(api: Api, state: str) -> None:
    api.create()
    (trial,) = api.ask()
    if state == "pruned":
        api.report(trial, 1, 0.5)
        api.post("/studies/s/trials/0/stop")
        api.report(trial, 2, 0.5)
    else:
        api.report(trial, 3, 0.5)
    detail = problem(api.post("/studies/s/trials/0/retry"), 409, "invalid_state")["detail"]
    assert state in detail


def test_a_trial_of_a_study_that_has_ended_is_not_retried_before_it_is_extended(api: Api) -> None:
    study = api.create(budget={"max_trials": 1})
    (trial,) = api.ask()
    _fail(api, trial)
    api.advance(study)
    assert "extend" in problem(api.post("/studies/s/trials/0/retry"), 409, "invalid_state")["detail"]
    api.post("/studies/s/extend", {"budget": {"max_trials": 2}})
    assert api.post("/studies/s/trials/0/retry").json()["state"] == "queued"
    _clean(api, study)


@pytest.mark.parametrize("verb", ["stop", "retry"])
def test_only_trials_that_are_there_and_ones_own_are_handled(api: Api, other: Api, verb: str) -> None:
    study = api.create()
    problem(api.post(f"/studies/s/trials/99/{verb}"), 404, "not_found")
    problem(api.post(f"/studies/unknown/trials/0/{verb}"), 404, "not_found")
    for ref in ("s", study["id"], str(UUID(int=1))):
        problem(other.post(f"/studies/{ref}/trials/0/{verb}"), 404, "not_found")
    assert _trial(api, 0)["state"] == "queued"


@pytest.mark.parametrize("verb", ["stop", "retry"])
def test_a_repeated_key_does_nothing_again(api: Api, verb: str) -> None:
    study = api.create()
    (trial,) = api.ask()
    if verb == "retry":
        _fail(api, trial)
    key = {"Idempotency-Key": verb}
    before: Any = api.post(f"/studies/s/trials/0/{verb}", headers=key)
    seq = api.hand.scalar("SELECT last_seq FROM study WHERE id = %(id)s", id=study["id"])
    assert api.post(f"/studies/s/trials/0/{verb}", headers=key).text == before.text
    assert api.hand.scalar("SELECT last_seq FROM study WHERE id = %(id)s", id=study["id"]) == seq
