"""Every operation of the document answers each kind of error as the problem that API.md describes.

What a request needs to be let in and understood is taken from the routes' matrix, which knows every route.
"""

import re
from typing import Any

import pytest
from httpx import Client, Response
from sqlalchemy import Connection

from hpo.storage.keys import add_key, ensure_project
from tests.contract.api_document import Operation, document, operations
from tests.integration.api.caller import V1, Api, Hand, Json, problem
from tests.integration.api.test_auth import ROUTES, SCOPES

ALL = [one for one in operations() if one.method != "HEAD"]  # its answers are those of GET without a body
PROTECTED = [one for one in ALL if one.protected]
WITH_BODY = [one for one in ALL if one.takes_json]
NAMING = [one for one in PROTECTED if "{" in one.path and 404 in one.statuses]
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
FIELDS = {"type", "title", "status", "code", "detail", "instance", "request_id"}
# Nothing of these names exists; each is well-formed, so that it is looked for.
ABSENT = {"name": "step-1.safetensors", "number": "0"}
LEASE = {"x-ladder-lease": "00000000-0000-4000-8000-000000000000"}

every = pytest.mark.parametrize


@pytest.fixture(scope="module")
def caller(client: Client, hand: Hand) -> Api:
    """A project with a study and a trial of it, that all these refused requests share."""

    def keys(tx: Connection) -> dict[str, str]:
        project = ensure_project(tx, "refused")
        return {scope: add_key(tx, project, scope=scope, name="test") for scope in SCOPES}

    tokens = hand.db.write(keys)
    caller = Api(client, hand, hand.db.write(lambda tx: ensure_project(tx, "refused")), tokens)
    caller.create("present")
    return caller


def url(operation: Operation, **given: str) -> str:
    values = {}
    for name, said in operation.parameters("path").items():
        choices = said["schema"].get("enum")
        values[name] = given.get(name) or (choices[0] if choices else ABSENT.get(name, "absent"))
    return operation.path.format(**values)


def send(caller: Api, operation: Operation, **options: Any) -> Response:
    """A request as the routes' matrix has it, with what the document says is required."""
    sample = ROUTES[operation.method, operation.path][1]
    headers = LEASE | options.pop("headers", {})
    if isinstance(sample, bytes):
        return caller.call(operation.method, url(operation), raw=sample, headers=headers, **options)
    return caller.call(operation.method, url(operation), options.pop("body", sample), headers=headers, **options)


def told(operation: Operation, answer: Response, status: int, code: str) -> Json:
    """The problem with all its fields, of a status that the document gives for the operation."""
    body = problem(answer, status, code)
    assert body.keys() - {"errors"} == FIELDS
    assert isinstance(body["detail"], str)
    assert body["instance"] == answer.request.url.path
    assert status in operation.statuses, "the document does not tell of it"
    return body


@every("operation", PROTECTED, ids=str)
def test_without_a_key_nobody_is_let_in(caller: Api, operation: Operation) -> None:
    answer = send(caller, operation, headers={"Authorization": ""})
    told(operation, answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


@every("operation", PROTECTED, ids=str)
def test_a_key_without_the_scope_is_refused(caller: Api, operation: Operation) -> None:
    allowed = ROUTES[operation.method, operation.path][0]
    assert allowed is not None
    for scope in {"read", "write", "worker"} - allowed:
        told(operation, send(caller, operation, scope=scope), 403, "forbidden")


@every("operation", NAMING, ids=str)
def test_what_is_not_there_is_not_found(caller: Api, operation: Operation) -> None:
    told(operation, send(caller, operation), 404, "not_found")


@every("path", [V1, f"{V1}/", f"{V1}/nothing", "/nothing", f"{V1}/studies/", "/healthz/"])
def test_a_path_that_is_not_served_is_not_found(caller: Api, path: str) -> None:
    problem(caller.get(path), 404, "not_found")


@every("path", document()["paths"])
def test_a_method_that_a_path_has_not_is_refused_with_those_it_has(caller: Api, path: str) -> None:
    target = url(next(one for one in ALL if one.path == path))
    # A fixed word in a path is also what a path with a name there matches: `/studies/import` is a study's, too.
    served = {one.method for one in ALL if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", one.path), target)}
    for method in METHODS - served:
        answer = caller.call(method, target)
        problem(answer, 405, "method_not_allowed")
        allowed = {one.strip() for one in answer.headers["allow"].split(",")}
        assert allowed - {"HEAD"} == served


@every("operation", WITH_BODY, ids=str)
def test_a_body_beyond_the_limit_is_refused(caller: Api, operation: Operation) -> None:
    told(operation, send(caller, operation, raw=b'"%s"' % (b"x" * (1 << 20))), 413, "too_large")


@every("operation", WITH_BODY, ids=str)
def test_a_body_that_is_not_json_by_its_type_is_refused(caller: Api, operation: Operation) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "nonsense"):
        answer = send(caller, operation, raw=b"{}", headers={"Content-Type": kind})
        told(operation, answer, 415, "unsupported_media_type")


@every("operation", WITH_BODY, ids=str)
def test_a_body_that_cannot_be_read_is_malformed(caller: Api, operation: Operation) -> None:
    for raw in (b"{", b"\xff", b"[" * 100_000, b"{} {}"):
        told(operation, send(caller, operation, raw=raw), 400, "malformed")


@every("operation", WITH_BODY, ids=str)
def test_a_body_with_an_unknown_field_is_refused_with_its_pointer(caller: Api, operation: Operation) -> None:
    sample = ROUTES[operation.method, operation.path][1] or {}
    body = told(operation, send(caller, operation, body=sample | {"unknown/~": 1}), 422, "validation_failed")
    assert body["errors"] == [
        {"pointer": "/unknown~1~0", "code": "extra_forbidden", "message": body["errors"][0]["message"]}
    ]
    body = told(operation, send(caller, operation, body=[sample]), 422, "validation_failed")
    assert [error["pointer"] for error in body["errors"]] == [""]


def _wrong(schema: Json) -> str | None:
    """A value that the schema of a parameter refuses; None where any text will do."""
    if "anyOf" in schema:
        wrong = [_wrong(one) for one in schema["anyOf"] if one.get("type") != "null"]
        return None if None in wrong else wrong[0]
    if schema.get("type") == "array":
        return _wrong(schema["items"])
    if "$ref" in schema or "enum" in schema or "const" in schema or schema.get("type") != "string":
        return "~~"
    return "~" * (schema["maxLength"] + 1) if "maxLength" in schema else None


WRONG = [
    (one, where, name, wrong)
    for one in ALL
    for where in ("path", "query", "header")
    for name, said in one.parameters(where).items()
    if (wrong := _wrong(said["schema"])) is not None
]


@every(("operation", "where", "name", "wrong"), WRONG, ids=lambda part: str(part) if len(str(part)) < 80 else "long")
def test_a_wrong_parameter_is_refused_by_its_name(
    caller: Api, operation: Operation, where: str, name: str, wrong: str
) -> None:
    headers = LEASE | ({name: wrong} if where == "header" else {})
    target = url(operation, **({"study": "present"} | ({name: wrong} if where == "path" else {})))
    sample = ROUTES[operation.method, operation.path][1]
    body = {"raw": sample} if isinstance(sample, bytes) else {"body": sample}
    query = {name: wrong} if where == "query" else None
    answer = caller.call(operation.method, target, **body, headers=headers, params=query)
    found = told(operation, answer, 422, "validation_failed")
    assert any(error["pointer"].lower().startswith(f"/{where}/{name}".lower()) for error in found["errors"]), found[
        "errors"
    ]
