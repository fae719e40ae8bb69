"""Trials of a study as they are read: filtered, ordered, paged; their decisions and checkpoints."""

import base64
import hashlib
import json
from typing import Any

import pytest

from api.answers import page_token
from tests.integration.api.caller import Api, Json, problem, refused

ASHA = {"type": "asha", "min_resource": 1, "max_resource": 3, "reduction_factor": 3}


def _pages(api: Api, query: str, size: int) -> list[Json]:
    items: list[Json] = []
    token = ""
    while True:
        page = api.get(f"/studies/s/trials?{query}&page_size={size}{token}").json()
        assert len(page["items"]) <= size
        items += page["items"]
        if page["next_page_token"] is None:
            return items
        token = f"&page_token={page['next_page_token']}"


@pytest.fixture(params=["minimize", "maximize"])
def measured(api: Api, request: pytest.FixtureRequest) -> Api:
    """Seven trials with the values 3, 1, 2, 1, NaN, none, none; two of the values are equal."""
    api.create(
        budget={"max_trials": 7},
        objectives=[{"metric": "loss", "direction": request.param}],
        scheduler={"type": "fifo", "max_resource": 3},
    )
    trials = sorted(api.ask(count=7), key=lambda trial: trial["number"])
    for trial, value in zip(trials, (3, 1, 2, 1, "nan"), strict=False):
        api.report(trial, 1, value)
    return api


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("order", "numbers"),
    [
        ("number", [0, 1, 2, 3, 4, 5, 6]),
        ("-number", [6, 5, 4, 3, 2, 1, 0]),
        ("value", [1, 3, 2, 0, 4, 5, 6]),
        ("-value", [0, 2, 1, 3, 4, 5, 6]),
    ],
)
def test_trials_come_in_order_with_missing_values_last(
    measured: Api, order: str, numbers: list[int], size: int
) -> None:
    assert [trial["number"] for trial in _pages(measured, f"order_by={order}", size)] == numbers


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        (["value:le:2"], [1, 2, 3]),
        (["value:gt:1"], [0, 2]),
        (["value:eq:1"], [1, 3]),
        (["value:ge:1", "number:lt:2"], [0, 1]),
        (["last_step:ge:1"], [0, 1, 2, 3, 4]),
        (["params.x:ge:0"], [0, 1, 2, 3, 4, 5, 6]),
        (["params.x:gt:1"], []),
        (["params.x:ne:word"], []),
    ],
)
def test_trials_are_filtered_by_value_and_params(measured: Api, where: list[str], numbers: list[int]) -> None:
    query = "&".join(f"where={condition}" for condition in where)
    assert [trial["number"] for trial in _pages(measured, query, 2)] == numbers


@pytest.mark.parametrize(
    "where",
    [
        "value",
        "value:lt",
        "value:near:1",
        "value:lt:high",
        "value:lt:Infinity",
        "params.y:lt:1",
        "loss:lt:1",
        "a%00:lt:1",
    ],
)
def test_a_filter_that_cannot_be_is_refused_with_what_is_wanted(measured: Api, where: str) -> None:
    refused(measured.get(f"/studies/s/trials?where={where}"), "/query/where", "bad_filter")


def test_trials_are_filtered_by_state_and_rung(api: Api) -> None:
    api.create(scheduler=ASHA, budget={"max_trials": 4})
    trials = sorted(api.ask(count=4), key=lambda trial: trial["number"])
    for trial, loss in zip(trials[:3], (0.3, 0.2, "nan"), strict=True):
        api.report(trial, 1, loss)
    states = {trial["number"]: trial["state"] for trial in _pages(api, "", 10)}
    assert states == {0: "paused", 1: "paused", 2: "pruned", 3: "running"}
    assert [t["number"] for t in _pages(api, "state=paused", 1)] == [0, 1]
    assert [t["number"] for t in _pages(api, "state=pruned&state=running", 1)] == [2, 3]
    assert [t["number"] for t in _pages(api, "rung=0", 1)] == [0, 1]
    assert _pages(api, "rung=1", 1) == []


def test_a_page_of_trials_is_for_the_same_filters_only(measured: Api) -> None:
    token = measured.get("/studies/s/trials?page_size=1").json()["next_page_token"]
    for query in ("order_by=value", "state=running", "rung=0"):
        problem(measured.get(f"/studies/s/trials?{query}&page_token={token}"), 400, "malformed")


def test_trials_added_between_two_pages_leave_no_gap_and_no_double(api: Api) -> None:
    api.create(budget={"max_trials": 6})
    api.ask(count=3)
    first = api.get("/studies/s/trials?page_size=2").json()
    api.ask(count=3)
    rest = api.get(f"/studies/s/trials?page_size=10&page_token={first['next_page_token']}").json()
    assert [trial["number"] for trial in first["items"] + rest["items"]] == [0, 1, 2, 3, 4, 5]


def test_a_forged_page_token_never_reaches_the_database(measured: Api) -> None:
    for order, key in (("number", ["x"]), ("number", [1.5]), ("number", [2**40]), ("value", ["a", 1]), ("value", [])):
        token = measured.get(f"/studies/s/trials?order_by={order}&page_size=1").json()["next_page_token"]
        mark = json.loads(base64.urlsafe_b64decode(token + "=="))[0]
        forged = base64.urlsafe_b64encode(json.dumps([mark, *key]).encode()).decode().rstrip("=")
        problem(measured.get(f"/studies/s/trials?order_by={order}&page_token={forged}"), 400, "malformed")


def test_metrics_are_read_by_name_and_in_pages(api: Api) -> None:
    api.create()
    (trial,) = api.ask()
    api.report(trial, 1, metrics={"loss": 1, "a": "inf", "b": 2})
    api.report(trial, 2, metrics={"loss": 2, "a": 1, "b": 2})
    path = "/studies/s/trials/0/metrics"
    page = api.get(f"{path}?page_size=1&name=a").json()
    assert [(m["step"], m["metrics"], m["non_finite"]) for m in page["items"]] == [(1, {"a": None}, {"a": "inf"})]
    rest = api.get(f"{path}?page_size=1&name=a&page_token={page['next_page_token']}").json()
    assert [(m["step"], m["metrics"]) for m in rest["items"]] == [(2, {"a": 1})]
    assert rest["next_page_token"] is None
    rest = api.get(f"{path}?after_step=1&name=loss&name=b").json()
    assert [(m["step"], m["metrics"], m["non_finite"]) for m in rest["items"]] == [(2, {"loss": 2, "b": 2}, {})]
    assert rest["next_page_token"] is None
    problem(api.get("/studies/s/trials/9/metrics"), 404, "not_found")
    filters = {"study": "s", "number": 0, "name": [], "after_step": 0}
    for key in ((), (0,), (-1,), (10**9 + 1,), (0.5,), ("1",), (1, 2)):
        problem(api.get(f"{path}?page_token={page_token(filters, key)}"), 400, "malformed")


def test_decisions_and_attempts_tell_how_a_trial_went(api: Api) -> None:
    api.create(scheduler=ASHA, budget={"max_trials": 3})
    trials = sorted(api.ask(count=3, worker="first"), key=lambda trial: trial["number"])
    for trial, loss in zip(trials, (0.1, 0.2, 0.3), strict=True):
        api.report(trial, 1, loss)
    (again,) = api.ask(worker="second")
    api.report(again, 3, 0.05)
    decisions = api.get("/studies/s/trials/0/decisions").json()["items"]
    shown = [(d["rung"], d["resource"], d["value"], d["decision"]) for d in decisions]
    assert shown == [(0, 1, 0.1, "pause"), (1, 3, 0.05, "complete")]
    assert decisions[0]["seq"] < decisions[1]["seq"]
    attempts = api.get("/studies/s/trials/0/attempts").json()["items"]
    told = [(a["attempt"], a["worker"], a["start_step"], a["end_step"], a["end_class"]) for a in attempts]
    assert told == [(1, "first", 0, 1, "paused"), (2, "second", 1, 3, "complete")]
    assert all(a["ended_at"] >= a["started_at"] and a["device_seconds"] >= 0 for a in attempts)
    problem(api.get("/studies/s/trials/9/decisions"), 404, "not_found")
    problem(api.get("/studies/s/trials/9/attempts"), 404, "not_found")


def _put(api: Api, trial: Json, name: str, content: bytes, **headers: Any) -> Any:
    path = f"/studies/s/trials/{trial['number']}/artifacts/{name}"
    lease = {"X-Ladder-Lease": trial["lease"]["token"], "Content-Type": "application/octet-stream"} | headers
    return api.call("PUT", path, raw=content, scope="worker", headers=lease)


def test_a_checkpoint_is_put_under_the_lease_and_read_back(api: Api, other: Api) -> None:
    api.create()
    (trial,) = api.ask()
    content = bytes(range(256)) * 5000
    put = _put(api, trial, "step-2.safetensors", content)
    assert put.status_code == 201
    artifact = put.json()
    assert (artifact["step"], artifact["attempt"], artifact["size_bytes"]) == (2, 1, len(content))
    assert artifact["sha256"] == hashlib.sha256(content).hexdigest()
    assert api.get("/studies/s/trials/0/artifacts").json()["items"] == [artifact]
    got = api.get("/studies/s/trials/0/artifacts/step-2.safetensors", scope="read")
    assert got.content == content
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["etag"] == f'"{artifact["sha256"]}"'
    assert got.headers["x-content-type-options"] == "nosniff"
    problem(api.get("/studies/s/trials/0/artifacts/step-1.safetensors"), 404, "not_found")
    problem(other.get("/studies/s/trials/0/artifacts/step-2.safetensors"), 404, "not_found")
    manifest = api.get("/studies/s/trials/0/artifacts/step-2.safetensors/manifest", scope="read")
    assert manifest.json() == {"step": 2, "sha256": artifact["sha256"], "size_bytes": len(content)}
    problem(api.get("/studies/s/trials/0/artifacts/step-1.safetensors/manifest"), 404, "not_found")
    api.post("/studies/s/trials/0/release", {"lease": trial["lease"]["token"]})
    (again,) = api.ask()
    assert again["checkpoints"] == []  # no step of it is accounted for


def test_a_put_needs_a_lease_that_is_one(api: Api) -> None:
    api.create()
    (trial,) = api.ask()
    problem(_put(api, trial, "step-1.safetensors", b"x", **{"X-Ladder-Lease": "abc"}), 400, "malformed")
    other = {"X-Ladder-Lease": "00000000-0000-4000-8000-000000000000"}
    problem(_put(api, trial, "step-1.safetensors", b"x", **other), 409, "lease_lost")
    answer = api.call("PUT", "/studies/s/trials/0/artifacts/step-1.safetensors", raw=b"x", scope="worker")
    assert [e["pointer"] for e in problem(answer, 422, "validation_failed")["errors"]] == ["/header/X-Ladder-Lease"]
    assert api.get("/studies/s/trials/0/artifacts").json()["items"] == []


@pytest.mark.parametrize("name", ["step-0.safetensors", "model.pt", "step-1.safetensors.json", "step-01.safetensors"])
def test_an_artifact_has_the_name_of_a_step(api: Api, name: str) -> None:
    api.create()
    (trial,) = api.ask()
    problem(_put(api, trial, name, b"x"), 422, "validation_failed")
