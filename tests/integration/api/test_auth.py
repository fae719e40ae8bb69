"""Who may do what: every route of the OpenAPI document, with every kind of key; and nothing of another project."""

from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from httpx import Response

from hpo.storage.keys import add_key
from tests.integration.api.caller import V1, Api, Json, problem, spec

LEASE = {"lease": str(uuid4())}
STUDY, TRIAL = f"{V1}/studies/{{study}}", f"{V1}/studies/{{study}}/trials/{{number}}"
ARTIFACT = f"{TRIAL}/artifacts/{{name}}"
WORKER = {"queue": "cpu", "protocol_version": 3}
LOG_LINE = {"position": 1, "at": "2026-01-01T00:00:00Z", "stream": "out", "text": "hello"}
CONTEST = f"{V1}/contests/{{contest}}"
CONTEST_BODY = {
    "name": "made-by-matrix",
    "study": {name: value for name, value in spec(sampler={"type": "random"}).items() if name != "name"},
    "methods": [{"name": "random"}],
    "budget": {"max_epochs": 3},
}

# Every route with the scopes that may use it (admin always may) and a body that is well-formed. None: open to all.
READ, WRITE, WORK, TRAIN = {"read", "write"}, {"write"}, {"worker"}, {"worker", "write"}
VERBS = ("start", "pause", "resume", "stop", "cancel", "archive", "unarchive")
ROUTES: dict[tuple[str, str], tuple[set[str] | None, Any]] = {
    ("GET", "/healthz"): (None, None),
    ("GET", "/readyz"): (None, None),
    ("GET", "/metrics"): (None, None),
    ("GET", "/version"): (None, None),
    ("GET", "/problems/{code}"): (None, None),
    ("GET", f"{V1}/studies"): (READ, None),
    ("POST", f"{V1}/studies"): (WRITE, spec("made-by-matrix")),
    ("POST", f"{V1}/studies/import"): (WRITE, {"study": spec("taken-in"), "source": "matrix", "trials": []}),
    ("GET", STUDY): (READ, None),
    ("PATCH", STUDY): (WRITE, {}),
    ("GET", f"{STUDY}/rungs"): (READ, None),
    ("GET", f"{STUDY}/best"): (READ, None),
    ("GET", f"{STUDY}/pareto"): (READ, None),
    ("GET", f"{STUDY}/events"): (READ, None),
    ("GET", f"{V1}/events"): (READ, None),
    ("GET", f"{STUDY}/curves"): (READ, None),
    ("GET", f"{STUDY}/warm-start"): (READ, None),
    **{("POST", f"{STUDY}/{verb}"): (WRITE, None) for verb in VERBS},
    ("POST", f"{STUDY}/extend"): (WRITE, {"budget": {"max_trials": 9}}),
    ("POST", f"{STUDY}/clone"): (WRITE, {"name": "cloned-by-matrix"}),
    ("DELETE", STUDY): (WRITE, None),
    ("POST", f"{STUDY}/ask"): (TRAIN, {"worker": "w"}),
    ("GET", f"{STUDY}/trials"): (READ, None),
    ("POST", f"{STUDY}/trials"): (WRITE, {"params": {"x": 0.5}}),
    ("GET", TRIAL): (READ, None),
    ("POST", f"{TRIAL}/stop"): (WRITE, None),
    ("POST", f"{TRIAL}/retry"): (WRITE, None),
    ("GET", f"{TRIAL}/metrics"): (READ, None),
    ("GET", f"{TRIAL}/confusion"): (READ, None),
    ("GET", f"{TRIAL}/decisions"): (READ, None),
    ("GET", f"{TRIAL}/schedule"): (READ, None),
    ("GET", f"{TRIAL}/attempts"): (READ, None),
    ("GET", f"{TRIAL}/artifacts"): (READ, None),
    ("GET", ARTIFACT): (READ | WORK, None),
    ("GET", f"{ARTIFACT}/manifest"): (READ, None),
    ("GET", f"{STUDY}/export"): (READ, None),
    ("GET", f"{STUDY}/importance"): (READ, None),
    ("GET", f"{STUDY}/plots/{{plot}}"): (READ, None),
    ("GET", f"{V1}/plots/compare"): (READ, None),
    ("GET", f"{V1}/compare"): (READ, None),
    ("GET", f"{TRIAL}/logs"): (READ, None),
    ("POST", f"{TRIAL}/logs"): (TRAIN, LEASE | {"lines": [LOG_LINE]}),
    **{("GET", f"{V1}/{kind}"): (READ, None) for kind in ("trainers", "samplers", "schedulers", "rules")},
    ("HEAD", ARTIFACT): (READ | WORK, None),
    ("PUT", ARTIFACT): (TRAIN, b"bytes"),
    ("POST", f"{TRIAL}/heartbeat"): (TRAIN, LEASE),
    ("POST", f"{TRIAL}/report"): (TRAIN, LEASE | {"step": 1, "metrics": {"loss": 1}}),
    ("POST", f"{TRIAL}/release"): (TRAIN, LEASE),
    ("POST", f"{TRIAL}/tell"): (TRAIN, LEASE | {"state": "complete"}),
    ("POST", f"{V1}/claim"): (WORK, {"worker": "w", "queue": "cpu", "claim_id": str(uuid4())}),
    ("GET", f"{V1}/workers"): (READ | WORK, None),
    ("GET", f"{V1}/workers/{{worker}}"): (READ | WORK, None),
    ("PUT", f"{V1}/workers/{{worker}}"): (WORK, WORKER),
    ("POST", f"{V1}/workers/{{worker}}/drain"): (WRITE, None),
    ("POST", f"{V1}/workers/{{worker}}/resume"): (WRITE, None),
    ("DELETE", f"{V1}/workers/{{worker}}"): (WRITE, None),
    ("GET", f"{V1}/queues"): (READ, None),
    ("GET", f"{V1}/contests"): (READ, None),
    ("POST", f"{V1}/contests"): (WRITE, CONTEST_BODY),
    ("GET", CONTEST): (READ, None),
    ("GET", f"{CONTEST}/result"): (READ, None),
}
SCOPES = ("admin", "write", "read", "worker")


def _send(api: Api, route: tuple[str, str], token: str | None, study: str = "s") -> Any:
    method, path = route
    body = ROUTES[route][1]
    url = path.format(study=study, number=0, name="step-1.safetensors", worker="w", code="malformed", contest="c",
                      plot="history")  # fmt: skip
    url += "?follow=false" if path == f"{V1}/events" else ""  # it has no end
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {"Authorization": ""}
    if isinstance(body, bytes):
        return api.call(method, url, raw=body, headers=headers | {"X-Ladder-Lease": LEASE["lease"]})
    return api.call(method, url, body, headers=headers)


def _problem(route: tuple[str, str], answer: Response, status: int, code: str) -> Json | None:
    """The problem that an answer is; None for HEAD, which tells its status without a body."""
    if route[0] != "HEAD":
        return problem(answer, status, code)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.content == b""
    return None


def test_every_route_of_the_api_has_a_row_here(app: FastAPI) -> None:
    served = {(method.upper(), path) for path, operations in app.openapi()["paths"].items() for method in operations}
    assert served == set(ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: " ".join(route))
def test_a_key_does_what_its_scope_allows_and_nothing_else(api: Api, route: tuple[str, str]) -> None:
    allowed = ROUTES[route][0]
    api.create(advance=False, start=False)
    api.post("/studies/s/cancel")  # so that its event stream ends
    for scope in SCOPES:
        answer = _send(api, route, api.tokens[scope])
        if allowed is None or scope == "admin" or scope in allowed:
            assert answer.status_code not in (401, 403), answer.text
            assert answer.status_code < 500
        elif (body := _problem(route, answer, 403, "forbidden")) is not None:
            assert f"yours has {scope}" in body["detail"]


@pytest.fixture
def useless(api: Api, app: FastAPI) -> dict[str, str | None]:
    """Tokens that let nobody in."""
    db = app.state.services.db
    revoked, expired = (db.write(lambda tx: add_key(tx, api.project, scope="admin", name="test")) for _ in range(2))
    for token, change in ((revoked, "revoked_at = clock_timestamp()"), (expired, "expires_at = clock_timestamp()")):
        api.hand.execute(f"UPDATE api_key SET {change} WHERE id = %(id)s", id=token.split("_")[1])
    good = api.tokens["admin"]
    return {
        "none": None,
        "revoked": revoked,
        "expired": expired,
        "unknown": f"ldr_{'0' * 12}_{'x' * 43}",
        "wrong secret": good[:-1] + ("A" if good[-1] != "A" else "B"),
        "another's secret": "_".join(["ldr", good.split("_")[1], api.tokens["read"].split("_", 2)[2]]),
        "cut off": "_".join(good.split("_")[:2]),
        "not ours": "ghp_abc_def",
        "long": "ldr_" + "a" * 5000,
        "quoted": f"ldr_' OR '1'='1_{'x' * 10}",
    }


@pytest.mark.parametrize("route", [route for route in ROUTES if ROUTES[route][0] is not None], ids=" ".join)
def test_no_key_that_is_not_valid_lets_anybody_in(api: Api, useless: dict[str, str | None], route: Any) -> None:
    for kind, token in useless.items():
        answer = _send(api, route, token)
        _problem(route, answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer", kind
        assert token is None or token not in answer.text, kind


@pytest.mark.parametrize("header", ["Basic YWRtaW46YWRtaW4=", "Bearer", "ldr_x"])
def test_only_bearer_tokens_count(api: Api, header: str) -> None:
    problem(api.get("/studies", headers={"Authorization": header}), 401, "unauthorized")


@pytest.mark.parametrize("route", [route for route in ROUTES if "{study}" in route[1]], ids=" ".join)
def test_another_projects_study_is_not_there(api: Api, other: Api, route: Any) -> None:
    study: Json = api.create()
    before = api.get("/studies/s").json()
    for ref in ("s", study["id"]):
        _problem(route, _send(other, route, other.tokens["admin"], ref), 404, "not_found")
    assert api.get("/studies/s").json() == before


def test_lists_show_the_callers_project_only(api: Api, other: Api) -> None:
    api.create(advance=False)
    api.call("PUT", "/workers/w", WORKER, scope="worker")
    assert other.get("/studies").json()["items"] == []
    assert other.get("/workers").json()["items"] == []


def test_a_valid_lease_of_another_project_is_worth_nothing(api: Api, other: Api) -> None:
    study = api.create()
    (trial,) = api.ask()
    body = {"lease": trial["lease"]["token"]}
    problem(other.post(f"/studies/{study['id']}/trials/0/heartbeat", body), 404, "not_found")
    other.create("s")
    problem(other.post("/studies/s/trials/0/heartbeat", body), 409, "lease_lost")


def test_who_changed_what_is_noted(api: Api) -> None:
    answer = api.post("/studies", spec(), scope="write", headers={"X-Request-Id": "req-1"})
    api.post("/studies/s/pause", headers={"X-Request-Id": "req-2"})
    rows = api.hand.db.read(
        lambda tx: tx.exec_driver_sql(
            "SELECT action, object, request_id, api_key_id FROM audit_log WHERE project_id = %(p)s ORDER BY id",
            {"p": api.project},
        ).all()
    )
    keys = {scope: token.split("_")[1] for scope, token in api.tokens.items()}
    assert [tuple(row) for row in rows] == [
        ("study.create", "s", "req-1", keys["write"]),
        ("study.pause", answer.json()["id"], "req-2", keys["admin"]),
    ]
