"""The served API keeps to its document, whatever is sent and whoever sends it: as Schemathesis makes up requests.

Every request goes out as an administrator, as a reader and as a worker. What it may answer, in which type and form, is
what the document says: no server error, no status or body that is not told of, no acceptance of what is invalid.
"""

import re
from functools import cache
from typing import Any

import pytest
import schemathesis
from httpx import Client
from schemathesis.config import SchemathesisConfig
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test
from sqlalchemy import Connection

from hpo.storage.keys import add_key, ensure_project
from tests.contract.api_document import Operation, document, operations
from tests.integration.api.caller import Api, Hand

ROLES = ("admin", "read", "worker")
# Its exhaustive phase makes thousands of requests of one such body. They are left to the slow run: here they are drawn.
LARGE_BODIES = ["create_contest", "create_study", "import_study", "patch_study", "clone_study"]
THERE = {"study": "s", "contest": "c", "worker": "w"}


@cache
def _schema(*, examples: int, large_bodies: bool) -> Any:
    ids = {said["operationId"] for methods in document()["paths"].values() for said in methods.values()}
    drawn = [one for one in ids if one.startswith(tuple(LARGE_BODIES))]
    config = {
        "generation": {
            "max-examples": examples,
            "deterministic": True,
            "database": "none",
            "no-shrink": True,
            "with-security-parameters": False,  # each sends its own key; ``ignored_auth`` tries without one
        },
        "phases": {"stateful": {"enabled": False}},
        "request-timeout": 30,
        "checks": {
            # Valid by the schema and refused all the same: what only the server knows, such as low above high.
            "positive_data_acceptance": {"enabled": False},
            # Our own test of errors does it, and knows that one path may match another with a name in its place.
            "allow_header_conformance": {"enabled": False},
            "unsupported_method": {"enabled": False},
        },
        "operations": []
        if large_bodies
        else [{"include-operation-id": drawn, "phases": {"coverage": {"enabled": False}}}],
    }
    schema = schemathesis.openapi.from_dict(dict(document()), config=SchemathesisConfig.from_dict(config))
    schema.hooks.register_hook_with_name(_at_what_is_there, "map_path_parameters")
    schema.hooks.register_hook_with_name(_ends, "map_case")
    return schema


def _at_what_is_there(_: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Half of the requests go to a study that is there; a name that the path would not take stays as it is."""

    def named(name: str, value: Any) -> Any:
        taken = isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,98}", value) and len(value) % 2
        return THERE[name] if name in THERE and taken else value

    return path_parameters and {name: named(name, value) for name, value in path_parameters.items()}


def _ends(_: Any, case: Any) -> Any:
    """A stream of events that follows a study has no end."""
    if case.operation.path.endswith("/events") and isinstance(case.query, dict) and case.query.get("follow", True):
        case.query["follow"] = "false"
    return case


@pytest.fixture(scope="module")
def caller(client: Client, hand: Hand) -> Api:
    """A project with a study, a trial, a worker; what is made up adds to it."""

    def keys(tx: Connection) -> dict[str, str]:
        project = ensure_project(tx, "conformance")
        return {scope: add_key(tx, project, scope=scope, name="test") for scope in ROLES}  # type: ignore[arg-type]

    caller = Api(client, hand, hand.db.write(lambda tx: ensure_project(tx, "conformance")), hand.db.write(keys))
    caller.create("s")
    caller.call("PUT", "/workers/w", {"queue": "cpu", "protocol_version": 3}, scope="worker")
    return caller


def _conforms(schema: Any, operation: Operation, caller: Api) -> None:
    def send(case: Any) -> None:
        for role in ROLES:
            headers = {"Authorization": f"Bearer {caller.tokens[role]}"}
            case.call_and_validate(base_url=str(caller.client.base_url), headers=headers)

    # What its pytest plugin does while it collects, and so for every process and whether the test runs or not.
    build_operation_test(
        config=schema.config,
        operation=schema[operation.path][operation.method],
        test_func=send,
        given_kwargs={},
        feedback=FeedbackSources(),
    )()


@pytest.mark.parametrize("operation", operations(), ids=str)
def test_every_answer_is_one_that_the_document_tells_of(operation: Operation, caller: Api) -> None:
    _conforms(_schema(examples=8, large_bodies=False), operation, caller)


@pytest.mark.slow
@pytest.mark.parametrize("operation", operations(), ids=str)
def test_every_answer_is_one_that_the_document_tells_of_at_length(operation: Operation, caller: Api) -> None:
    _conforms(_schema(examples=200, large_bodies=True), operation, caller)
