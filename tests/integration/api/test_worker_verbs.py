"""Workers drained, resumed and forgotten; what they tell of themselves; the queues that they serve."""

from typing import Any
from uuid import uuid4

import pytest

from tests.integration.api.caller import V1, Api, Json, problem, refused

IN = {"queue": "cpu", "protocol_version": 3, "host": "h", "pid": 1}


def _put(api: Api, name: str = "w", **changes: Any) -> Json:
    answer = api.call("PUT", f"/workers/{name}", IN | changes, scope="worker")
    assert answer.status_code == 200, answer.text
    told: Json = answer.json()
    return told


def _lose(api: Api, name: str = "w") -> None:
    api.hand.execute(
        "UPDATE worker SET seen_at = clock_timestamp() - interval '1 h' WHERE name = %(n)s AND project_id = %(p)s",
        n=name,
        p=api.project,
    )


def test_a_drained_worker_hears_of_it_with_its_next_heartbeat(api: Api) -> None:
    instance = str(uuid4())
    assert _put(api, instance=instance)["drain"] is False
    for _ in range(2):
        drained = api.post("/workers/w/drain", scope="write")
        assert (drained.status_code, drained.json()["state"]) == (200, "draining")
    assert _put(api, instance=instance)["drain"] is True
    for _ in range(2):
        assert api.post("/workers/w/resume").json()["state"] == "idle"
    assert _put(api, instance=instance)["drain"] is False


def test_a_worker_that_starts_anew_under_its_name_is_not_draining(api: Api) -> None:
    # In a container every start has the same pid and may have the same host: the instance tells them apart.
    before = _put(api, instance=str(uuid4()))
    api.post("/workers/w/drain")
    after = _put(api, instance=str(uuid4()))
    assert (after["drain"], after["state"]) == (False, "idle")
    assert after["started_at"] > before["started_at"]


def test_only_a_lost_worker_is_forgotten(api: Api, other: Api) -> None:
    _put(api)
    assert "drain" in problem(api.call("DELETE", "/workers/w"), 409, "invalid_state")["detail"]
    _lose(api)
    problem(other.call("DELETE", "/workers/w"), 404, "not_found")
    answer = api.call("DELETE", "/workers/w")
    assert (answer.status_code, answer.content) == (204, b"")
    problem(api.call("DELETE", "/workers/w"), 404, "not_found")
    assert api.get("/workers").json()["items"] == []


@pytest.mark.parametrize("verb", ["drain", "resume"])
def test_only_workers_that_are_there_and_ones_own_are_handled(api: Api, other: Api, verb: str) -> None:
    _put(api)
    problem(api.post(f"/workers/nobody/{verb}"), 404, "not_found")
    problem(other.post(f"/workers/w/{verb}"), 404, "not_found")
    assert api.get("/workers/w").json()["drain"] is False


def test_what_a_worker_measures_is_shown_until_it_tells_something_else(api: Api) -> None:
    stats = {
        "util": 0.94,
        "memory_used_bytes": 11 << 30,
        "memory_total_bytes": 139 << 30,
        "temperature_c": 61.0,
        "images_per_s": 41_000.0,
        "done": 31,
        "failed": 0,
    }
    assert _put(api, stats=stats)["stats"] == stats
    assert api.get("/workers/w").json()["stats"] == stats
    assert set(_put(api)["stats"].values()) == {None}
    for field, value in (("util", 1.5), ("util", "0.5"), ("memory_used_bytes", -1), ("done", True), ("colour", 1)):
        answer = api.call("PUT", "/workers/w", IN | {"stats": {field: value}}, scope="worker")
        refused(answer, f"/stats/{field}")


def test_queues_tell_who_works_and_what_waits(api: Api, other: Api) -> None:
    def queues(of: Api) -> dict[str, Json]:
        return {queue["name"]: queue for queue in of.get(f"{V1}/queues").json()["items"]}

    assert queues(api) == {}
    api.create(trainer={"name": "synthetic"}, scheduler={"type": "fifo", "max_resource": 3}, budget={"max_trials": 4})
    for name in ("busy", "draining", "idle", "lost"):
        _put(api, name)
    _put(api, "g", queue="gpu")
    api.post("/workers/draining/drain")
    _lose(api, "lost")
    assert api.claim(worker="busy").json()["trial"] is not None
    api.advance(api.get("/studies/s").json())
    found = queues(api)
    assert found["gpu"] | {"name": ""} == {
        "name": "", "workers": 1, "idle": 1, "draining": 0, "lost": 0, "running": 0, "waiting": 0, "oldest_wait_s": None
    }  # fmt: skip
    cpu = found["cpu"]
    assert cpu["oldest_wait_s"] > 0
    assert cpu["waiting"] == api.get("/studies/s").json()["counts"]["queued"] > 0
    assert {key: cpu[key] for key in ("workers", "idle", "draining", "lost", "running")} == {
        "workers": 3, "idle": 1, "draining": 1, "lost": 1, "running": 1
    }  # fmt: skip
    assert queues(other) == {}
