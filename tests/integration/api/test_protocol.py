"""The worker protocol over HTTP: claim or ask, heartbeat, report, release, tell."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.api.caller import V1, Api, Json, problem, refused

SYNTHETIC = {"name": "synthetic", "config": {"epoch_s": 0.0}}
ASHA = {"type": "asha", "min_resource": 1, "max_resource": 3, "reduction_factor": 3}


def _trial(api: Api, number: int, name: str = "s") -> Json:
    trial: Json = api.get(f"/studies/{name}/trials/{number}").json()
    return trial


def test_a_claim_gives_all_that_training_needs(api: Api) -> None:
    study = api.create(trainer=SYNTHETIC, scheduler=ASHA)
    trial = api.claim(worker="node-1").json()["trial"]
    assert (trial["study_id"], trial["study"], trial["number"], trial["attempt"]) == (study["id"], "s", 0, 1)
    assert trial["config"] == SYNTHETIC["config"] | trial["params"]
    assert (trial["last_step"], trial["target_step"], trial["max_resource"], trial["rungs"]) == (0, 1, 3, [1, 3])
    assert set(trial["params"]) == {"x"}
    shown = _trial(api, 0)
    assert (shown["state"], shown["worker"], shown["attempt"]) == ("running", "node-1", 1)


def test_a_claim_with_nothing_to_do_gets_null(api: Api) -> None:
    answer = api.claim()
    assert (answer.status_code, answer.json()) == (200, {"trial": None})


def test_a_claim_takes_only_what_is_queued_for_it(api: Api, other: Api) -> None:
    api.create(trainer=SYNTHETIC)
    assert api.claim(queue="gpu").json()["trial"] is None
    assert other.claim().json()["trial"] is None
    assert api.claim().json()["trial"] is not None


def test_a_replayed_claim_gives_the_same_trial(api: Api) -> None:
    study = api.create(trainer=SYNTHETIC)
    claim_id = str(uuid4())
    first = api.claim(claim_id=claim_id).json()["trial"]
    api.advance(study)
    again = api.claim(claim_id=claim_id).json()["trial"]
    assert (again["number"], again["attempt"], again["lease"]["token"]) == (
        first["number"],
        first["attempt"],
        first["lease"]["token"],
    )
    assert api.get("/studies/s").json()["counts"]["running"] == 1


def test_twins_of_a_claim_at_the_same_time_get_the_same_trial_or_nothing(api: Api) -> None:
    study = api.create(trainer=SYNTHETIC, budget={"max_trials": 40})
    for _ in range(3):
        claim_id, together = str(uuid4()), threading.Barrier(4)
        api.advance(study)
        api.hand.execute("UPDATE worker SET seen_at = clock_timestamp() WHERE project_id = %(p)s", p=api.project)

        def send(_: int, claim_id: str = claim_id, together: threading.Barrier = together) -> tuple[int, Any]:
            together.wait(10)
            answer = api.claim(claim_id=claim_id)
            return answer.status_code, answer.json().get("trial")

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(send, range(4)))
        assert {status for status, _ in answers} == {200}
        assert len({trial["number"] for _, trial in answers if trial}) == 1
    assert api.get("/studies/s").json()["counts"]["running"] == 3


def test_external_trials_are_asked_for_and_never_claimed(api: Api) -> None:
    api.create()
    assert api.claim().json()["trial"] is None


def test_ask_gives_several_trials_and_says_why_it_gives_none(api: Api) -> None:
    study = api.create(budget={"max_trials": 3, "max_concurrent": 2})
    trials = api.ask(count=2)
    assert {trial["number"] for trial in trials} == {0, 1}
    api.advance(study)

    def reason() -> Any:
        body = api.post("/studies/s/ask", {"worker": "w"}).json()
        assert (body["trials"], body["retry_after_s"]) == ([], 1.0)
        return body["reason"]

    assert reason() == "max_concurrent"
    api.report(trials[0], 3)
    api.hand.execute(
        "UPDATE trial SET not_before = 'infinity' WHERE state = 'queued' AND project_id = %(p)s", p=api.project
    )
    assert reason() == "waiting_for_rung"
    api.post("/studies/s/pause")
    assert reason() == "paused"
    api.post("/studies/s/cancel")
    assert reason() == "finished"


def test_ask_with_the_same_key_gets_the_same_trials(api: Api) -> None:
    study = api.create()
    headers = {"Idempotency-Key": str(uuid4())}
    first = api.post("/studies/s/ask", {"worker": "w"}, headers=headers)
    api.advance(study)
    again = api.post("/studies/s/ask", {"worker": "w"}, headers=headers)
    assert again.text == first.text
    assert len(first.json()["trials"]) == 1
    assert api.get("/studies/s").json()["counts"]["running"] == 1


def test_the_length_of_a_lease_may_be_asked_for(api: Api) -> None:
    api.create()
    body = api.post("/studies/s/ask", {"worker": "w", "lease_s": 7}).json()
    assert body["trials"][0]["lease"]["ttl_s"] == 7
    for wrong in (0, -1, 1e9, True, "5"):
        refused(api.post("/studies/s/ask", {"worker": "w", "lease_s": wrong}), "/lease_s")


def _beat(api: Api, trial: Json, lease: str | None = None) -> Any:
    path = f"/studies/{trial['study']}/trials/{trial['number']}/heartbeat"
    return api.post(path, {"lease": lease or trial["lease"]["token"]}, scope="worker")


def test_a_heartbeat_renews_the_lease_and_tells_what_is_wanted(api: Api) -> None:
    api.create()
    (trial,) = api.ask()
    renewed = _beat(api, trial).json()
    assert renewed["stop"] is None
    assert renewed["lease_expires_at"] > trial["lease"]["expires_at"]
    api.post("/studies/s/pause")
    assert _beat(api, trial).json()["stop"] == "pause"
    api.post("/studies/s/resume")
    assert _beat(api, trial).json()["stop"] is None
    api.post("/studies/s/cancel")
    assert _beat(api, trial).json()["stop"] == "cancel"


def test_reports_go_on_until_the_trial_is_whole(api: Api) -> None:
    api.create()
    (trial,) = api.ask()
    first = api.report(trial, 1).json()
    assert (first["decision"], first["target_step"]) == ("continue", 3)
    assert first["lease_expires_at"] > trial["lease"]["expires_at"]
    last = api.report(trial, 3, earlier=[{"step": 2, "metrics": {"loss": 0.4}, "seconds": 1.5}]).json()
    assert (last["decision"], last.get("lease_expires_at")) == ("complete", None)
    done = _trial(api, 0)
    assert (done["state"], done["value"], done["last_step"]) == ("complete", 0.5, 3)
    metrics = api.get("/studies/s/trials/0/metrics").json()["items"]
    assert [(m["step"], m["metrics"]["loss"], m["seconds"]) for m in metrics] == [
        (1, 0.5, None),
        (2, 0.4, 1.5),
        (3, 0.5, None),
    ]
    study = api.get("/studies/s").json()
    assert study["usage"]["epochs"] == 3
    assert (study["counts"]["complete"], study["counts"]["running"]) == (1, 0)


def test_a_replayed_report_changes_nothing_and_the_first_value_stands(api: Api) -> None:
    api.create()
    (trial,) = api.ask()
    assert api.report(trial, 2, 0.5).json()["decision"] == "continue"
    assert api.report(trial, 2, 0.5).json()["decision"] == "continue"
    assert api.report(trial, 1, 0.1).json()["decision"] == "continue"
    other = api.report(trial, 2, 0.9).json()
    assert (other["decision"], other["target_step"]) == ("continue", 3)
    assert _trial(api, 0)["value"] == 0.5
    assert api.get("/studies/s").json()["usage"]["epochs"] == 2
    kinds = api.hand.scalar(
        "SELECT count(*) FROM event e JOIN study s ON s.id = e.study_id"
        " WHERE s.project_id = %(p)s AND e.type = 'replay-mismatch'", p=api.project)  # fmt: skip
    assert kinds == 1


@pytest.mark.parametrize("loss", [0.5, "nan"])
def test_the_lost_reply_of_a_final_report_is_given_again(api: Api, loss: Any) -> None:
    api.create()
    (trial,) = api.ask()
    first = api.report(trial, 3, loss)
    again = api.report(trial, 3, loss)
    assert again.status_code == 200
    assert again.json()["decision"] == first.json()["decision"]
    assert api.get("/studies/s").json()["usage"]["epochs"] == 3


def test_a_paused_trial_answers_its_last_report_again_until_another_lease_has_it(api: Api) -> None:
    api.create(scheduler=ASHA, budget={"max_trials": 3})
    trials = api.ask(count=3)
    assert [api.report(t, 1, loss).json()["decision"] for t, loss in zip(trials[:2], (0.1, 0.2), strict=True)] == [
        "pause"
    ] * 2
    assert api.report(trials[0], 1, 0.1).json()["decision"] == "pause"
    assert api.report(trials[2], 1, 0.3).json()["decision"] == "pause"
    (promoted,) = api.ask()
    assert (promoted["number"], promoted["attempt"], promoted["last_step"], promoted["target_step"]) == (0, 2, 1, 3)
    assert api.report(trials[0], 1, 0.1).json()["decision"] == "pause"
    problem(api.report(trials[0], 2, 0.1), 409, "lease_lost")
    assert api.report(promoted, 3, 0.05).json()["decision"] == "complete"


def test_who_lost_the_lease_can_change_nothing(api: Api) -> None:
    study = api.create()
    (trial,) = api.ask()
    path = f"/studies/s/trials/{trial['number']}"
    lease = {"lease": trial["lease"]["token"]}
    assert api.post(f"{path}/release", lease, scope="worker").status_code == 204
    before = api.get("/studies/s").json()
    problem(_beat(api, trial), 409, "lease_lost")
    problem(api.report(trial, 1), 409, "lease_lost")
    problem(api.tell(trial), 409, "lease_lost")
    problem(api.tell(trial, values=[0.5]), 409, "lease_lost")
    problem(api.tell(trial, state="failed"), 409, "lease_lost")
    problem(api.post(f"{path}/release", lease), 409, "lease_lost")
    put = api.call("PUT", f"{path}/artifacts/step-1.safetensors", raw=b"x", scope="worker",
                   headers={"X-Ladder-Lease": trial["lease"]["token"]})  # fmt: skip
    problem(put, 409, "lease_lost")
    assert api.get("/studies/s").json() == before
    api.advance(study)
    (again,) = api.ask(worker="other")
    assert (again["number"], again["attempt"]) == (0, 2)
    problem(_beat(api, trial), 409, "lease_lost")
    assert _beat(api, again).status_code == 200


def test_a_released_trial_counts_as_no_failure_and_is_taken_at_once(api: Api) -> None:
    api.create(trainer=SYNTHETIC)
    trial = api.claim().json()["trial"]
    saved = {"step": 1, "sha256": "0" * 64, "size_bytes": 5}
    api.report(trial, 1, checkpoints=[saved], setup_s=0.5, peak_memory_bytes=1000)
    answer = api.post(
        "/studies/s/trials/0/release",
        {"lease": trial["lease"]["token"], "checkpoints": [saved | {"step": 2}]},
        scope="worker",
    )
    assert (answer.status_code, answer.text) == (204, "")
    assert _trial(api, 0)["state"] == "queued"
    (attempt,) = api.get("/studies/s/trials/0/attempts").json()["items"]
    assert (attempt["end_class"], attempt["start_step"], attempt["end_step"]) == ("drain", 0, 1)
    assert (attempt["setup_s"], attempt["peak_memory_bytes"]) == (0.5, 1000)
    again = api.claim().json()["trial"]
    assert (again["attempt"], again["last_step"]) == (2, 1)
    assert [c["step"] for c in again["checkpoints"]] == [2, 1]


@pytest.mark.parametrize(("loss", "word"), [("nan", "nan"), ("inf", "inf"), ("-inf", "-inf")])
def test_a_diverged_trial_is_pruned_and_shown_with_null_and_a_word(api: Api, loss: str, word: str) -> None:
    api.create()
    (trial,) = api.ask()
    assert api.report(trial, 1, metrics={"loss": loss, "extra": 1}).json()["decision"] == "stop"
    shown = _trial(api, 0)
    assert (shown["state"], shown["value"], shown["non_finite"]) == ("pruned", None, word)
    (step,) = api.get("/studies/s/trials/0/metrics").json()["items"]
    assert (step["metrics"], step["non_finite"]) == ({"loss": None, "extra": 1.0}, {"loss": word})
    assert api.get("/studies/s/trials/0/attempts").json()["items"][0]["end_class"] == "diverged"
    assert api.get("/studies/s").json()["best"] is None


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"metrics": {"loss": "NaN"}}, "/metrics/loss"),
        ({"metrics": {"loss": True}}, "/metrics/loss"),
        ({"metrics": {"loss": None}}, "/metrics/loss"),
        ({"metrics": {"loss": float("nan")}}, "/metrics/loss"),
        ({"metrics": {"": 1}}, "/metrics/"),
        ({"metrics": {}}, "/metrics"),
        ({"metrics": {"acc": 1}}, "/metrics"),
        ({"step": 0}, "/step"),
        ({"step": True}, "/step"),
        ({"step": 1.0}, "/step"),
        ({"step": 4}, "/step"),
        ({"step": 10**30}, "/step"),
        ({"lease": "abc"}, "/lease"),
        ({"seconds": "1"}, "/seconds"),
        ({"seconds": -1}, "/seconds"),
        ({"peak_memory_bytes": 2**63}, "/peak_memory_bytes"),
        ({"checkpoints": [{"step": 1, "sha256": "xyz", "size_bytes": 1}]}, "/checkpoints/0/sha256"),
        ({"checkpoints": [{"step": 1, "sha256": "0" * 64, "size_bytes": 10**25}]}, "/checkpoints/0/size_bytes"),
        ({"earlier": [{"step": 5, "metrics": {"loss": 1}}]}, "/earlier"),
        ({"earlier": [{"step": 0, "metrics": {"loss": 1}}]}, "/earlier/0/step"),
        ({"corrupt": ["x"]}, "/corrupt/0"),
        ({"foo": 1}, "/foo"),
    ],
)
def test_a_wrong_report_is_refused_and_stores_nothing(api: Api, changes: Json, pointer: str) -> None:
    api.create()
    (trial,) = api.ask()
    body = {"step": 1} | changes
    refused(api.report(trial, body.pop("step"), **body), pointer)
    assert api.get("/studies/s/trials/0/metrics").json()["items"] == []
    assert api.report(trial, 1).json()["decision"] == "continue"


def test_a_trial_that_is_not_there_is_not_found(api: Api) -> None:
    api.create()
    (trial,) = api.ask()
    for verb in ("heartbeat", "release", "tell", "report"):
        body: Json = {"lease": trial["lease"]["token"]}
        more: Json = {"tell": {"state": "complete"}, "report": {"step": 1, "metrics": {"loss": 1}}}
        body |= more.get(verb, {})
        problem(api.post(f"/studies/s/trials/7/{verb}", body), 404, "not_found")


def test_tell_completes_a_trial_with_its_value(api: Api) -> None:
    api.create(scheduler={"type": "fifo", "max_resource": 1})
    (trial,) = api.ask()
    told = api.tell(trial, values=[0.25], metrics={"extra": 3}).json()
    assert (told["state"], told["value"], told["last_step"]) == ("complete", 0.25, 1)


@pytest.mark.parametrize(
    "body",
    [
        {"values": [0.25], "constraints": {"params_m": 4.5, "late_ms": 9}},
        {"values": [0.25], "constraints": {"params_m": 4.5}, "metrics": {"late_ms": 9, "params_m": 4.5, "loss": 0.25}},
    ],
)
def test_tell_takes_the_values_of_constraints_as_metrics_of_the_step(api: Api, body: Json) -> None:
    bounds = [{"metric": "params_m", "op": "<=", "value": 5}, {"metric": "late_ms", "op": "<=", "value": 10}]
    api.create(scheduler={"type": "fifo", "max_resource": 1}, constraints=bounds)
    (trial,) = api.ask()
    told = api.tell(trial, **body).json()
    assert (told["state"], told["value"], told["feasible"]) == ("complete", 0.25, True)
    (step,) = api.get("/studies/s/trials/0/metrics").json()["items"]
    assert step["metrics"] == {"loss": 0.25, "params_m": 4.5, "late_ms": 9}


def test_tell_judges_by_a_constraint_that_is_not_kept(api: Api) -> None:
    bound = {"metric": "params_m", "op": "<=", "value": 5}
    api.create(scheduler={"type": "fifo", "max_resource": 1}, constraints=[bound])
    (trial,) = api.ask()
    assert api.tell(trial, values=[0.25], constraints={"params_m": 6}).json()["feasible"] is False


@pytest.mark.parametrize("word", ["nan", "inf", "-inf"])
def test_a_value_that_is_not_finite_ends_the_trial_as_the_metric_does(api: Api, word: str) -> None:
    api.create(scheduler={"type": "fifo", "max_resource": 1})
    bodies: list[Json] = [
        {"values": [word]},
        {"metrics": {"loss": word}},
        {"values": [word], "metrics": {"loss": word}},
    ]
    told = [api.tell(trial, **body).json() for trial, body in zip(api.ask(count=3), bodies, strict=True)]
    shown = [(one["state"], one["value"], one["non_finite"], one["last_step"], one["error"]) for one in told]
    assert shown == [("pruned", None, word, 1, None)] * 3
    for number in range(3):
        (step,) = api.get(f"/studies/s/trials/{number}/metrics").json()["items"]
        assert (step["metrics"], step["non_finite"]) == ({"loss": None}, {"loss": word})


def test_tell_completes_a_trial_before_its_full_resource(api: Api) -> None:
    api.create()
    (trial,) = api.ask()
    api.report(trial, 1, 0.4)
    told = api.tell(trial).json()
    assert (told["state"], told["value"], told["last_step"]) == ("complete", 0.4, 1)
    assert api.get("/studies/s").json()["usage"]["epochs"] == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"values": [1, 2]}, "/values"),
        ({"values": []}, "/values"),
        ({"values": [True]}, "/values/0"),
        ({"values": [float("inf")]}, "/values/0"),
        ({"values": ["infinite"]}, "/values/0"),
        ({"values": [1], "metrics": {"loss": 2}}, "/values/0"),
        ({"values": [1], "constraints": {"loss": "nan"}}, "/constraints/loss"),
        ({"metrics": {"a/b": 1}, "constraints": {"a/b": 2}}, "/constraints/a~1b"),
        ({"constraints": {"late_ms": True}}, "/constraints/late_ms"),
        ({"state": "failed", "step": 1, "metrics": {"a": 1}, "constraints": {"a": 2}}, "/constraints/a"),
        ({"values": [1], "step": 9}, "/step"),
        ({"state": "done"}, "/state"),
        ({"state": "failed", "error": {"message": "x"}}, "/error/type"),
        ({"state": "failed", "error": {"type": "a\0"}}, "/error/type"),
    ],
)
def test_a_wrong_tell_is_refused_and_the_trial_runs_on(api: Api, body: Json, pointer: str) -> None:
    api.create()
    (trial,) = api.ask()
    refused(api.tell(trial, **body), pointer)
    assert _trial(api, 0)["state"] == "running"


def test_a_failed_trial_keeps_its_error_and_a_retryable_one_is_queued_again(api: Api) -> None:
    api.create()
    trials = api.ask(count=2)
    error = {"type": "ValueError", "message": "läuft nicht {x}", "traceback": "…"}
    told = api.tell(trials[0], state="failed", error=error).json()
    assert (told["state"], told["error"]["type"], told["error"]["message"]) == (
        "failed",
        "user_error",
        error["message"],
    )
    told = api.tell(trials[1], state="failed", error=error | {"retryable": True}).json()
    assert told["state"] == "queued"
    counts = api.get("/studies/s").json()["counts"]
    assert (counts["failed"], counts["queued"], counts["running"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("named", "state", "end_class"),
    [
        ("OOM", "queued", "oom"),
        ("Stalled", "queued", "stalled"),
        ("INFRA", "queued", "infra"),
        ("User_Error", "failed", "user_error"),
        ("Diverged", "pruned", "diverged"),
        ("OutOfMemory", "failed", "user_error"),
    ],
)
def test_a_failure_class_is_known_in_upper_and_lower_case(api: Api, named: str, state: str, end_class: str) -> None:
    api.create()
    (trial,) = api.ask()
    told = api.tell(trial, state="failed", error={"type": named}).json()
    assert told["state"] == state
    (attempt,) = api.get("/studies/s/trials/0/attempts").json()["items"]
    assert (attempt["end_class"], attempt["error"]["type"]) == (end_class, end_class)


def test_what_a_worker_holds_is_told_to_nobody_else(api: Api) -> None:
    api.create(trainer=SYNTHETIC)
    claim_id = str(uuid4())
    trial = api.claim(claim_id=claim_id).json()["trial"]
    api.report(trial, 1, checkpoints=[{"step": 1, "sha256": "0" * 64, "size_bytes": 5}])
    api.post("/studies/s/cancel")
    api.tell(trial)
    secrets = [claim_id, trial["lease"]["token"], *api.tokens.values()]
    shown = ["", "/trials", "/trials/0", "/trials/0/metrics", "/trials/0/decisions", "/trials/0/attempts",
             "/trials/0/artifacts", "/rungs", "/best", "/events"]  # fmt: skip
    for path in [*(f"/studies/s{end}" for end in shown), "/studies", "/workers"]:
        text = api.get(path, scope="read").text
        assert not [secret for secret in secrets if secret in text], path
        assert not [word for word in ("claim_id", "sha256_secret", "secret_sha256", '"lease') if word in text], path


WORKER = {"queue": "cpu", "protocol_version": 3, "host": "h", "device": "cpu", "pid": 7, "versions": {"torch": "2"}}


def test_a_worker_registers_and_is_seen(api: Api, other: Api) -> None:
    put = api.call("PUT", "/workers/node-1", WORKER, scope="worker")
    assert put.status_code == 200
    assert (put.json()["state"], put.json()["trial"], put.json()["drain"]) == ("idle", None, False)
    study = api.create(trainer=SYNTHETIC)
    assert study["conditions"][0]["reason"] == "LiveWorkers"
    api.claim(worker="node-1")
    shown = api.get("/workers/node-1", scope="read").json()
    assert (shown["state"], shown["trial"], shown["versions"]) == ("busy", "s/0", {"torch": "2"})
    problem(api.get("/workers/node-2"), 404, "not_found")
    problem(other.get("/workers/node-1"), 404, "not_found")
    assert other.get("/workers").json()["items"] == []


def test_workers_are_listed_by_name_in_pages(api: Api) -> None:
    for name in ("c", "a", "b"):
        api.call("PUT", f"/workers/{name}", WORKER, scope="worker")
    first = api.get("/workers?page_size=2").json()
    rest = api.get(f"/workers?page_size=2&page_token={first['next_page_token']}").json()
    assert [w["name"] for w in first["items"] + rest["items"]] == ["a", "b", "c"]
    assert rest["next_page_token"] is None


def test_a_worker_of_another_protocol_version_is_refused(api: Api) -> None:
    answer = api.call("PUT", "/workers/old", WORKER | {"protocol_version": 0}, scope="worker")
    assert "protocol 3, the worker speaks 0" in problem(answer, 409, "protocol_mismatch")["detail"]
    problem(api.get("/workers/old"), 404, "not_found")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"pid": 10**12}, "/pid"),
        ({"pid": True}, "/pid"),
        ({"versions": {"a": "\0"}}, "/versions/a"),
        ({"versions": {"a": 1}}, "/versions/a"),
        ({"host": "\ud800"}, "/host"),
        ({"queue": "A"}, "/queue"),
    ],
)
def test_a_wrong_registration_is_refused(api: Api, changes: Json, pointer: str) -> None:
    refused(api.call("PUT", "/workers/w", WORKER | changes, scope="worker"), pointer)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [({"claim_id": "x"}, "/claim_id"), ({"queue": ""}, "/queue"), ({"worker": "a b"}, "/worker")],
)
def test_a_wrong_claim_is_refused(api: Api, changes: Json, pointer: str) -> None:
    refused(api.claim(**changes), pointer)


def test_a_claim_is_not_for_a_users_key(api: Api) -> None:
    body = {"worker": "w", "queue": "cpu", "claim_id": str(uuid4())}
    problem(api.call("POST", f"{V1}/claim", body, scope="write"), 403, "forbidden")
