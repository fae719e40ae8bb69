"""The document that clients are generated from."""

import json
from pathlib import Path
from typing import Any

from api.main import openapi_document
from ladder.cli.app import run
from tests.integration.api.caller import V1, Api

COMMITTED = Path(__file__).parents[3] / "openapi.json"


def test_the_committed_document_is_the_served_one(api: Api) -> None:
    served = api.client.get(f"{V1}/openapi.json").json()
    assert json.loads(COMMITTED.read_text()) == served, "run: ladder openapi > openapi.json"


def test_the_command_writes_the_committed_file(capsys: Any) -> None:
    assert run(["openapi"]) == 0
    assert capsys.readouterr().out == COMMITTED.read_text()


def _operations() -> list[tuple[str, str, Any]]:
    paths: Any = openapi_document()["paths"]
    return [(path, method, said) for path, methods in paths.items() for method, said in methods.items()]


def test_every_error_of_every_operation_is_a_problem() -> None:
    for path, method, operation in _operations():
        for status, said in operation["responses"].items():
            if int(status) >= 400:
                schema = said["content"]["application/problem+json"]["schema"]
                kind = "NotReady" if path == "/readyz" else "Problem"
                assert schema == {"$ref": f"#/components/schemas/{kind}"}, (path, method, status)


def test_the_problem_of_a_service_that_is_not_ready_has_all_that_others_have() -> None:
    components: Any = openapi_document()["components"]
    plain, more = (components["schemas"][name] for name in ("Problem", "NotReady"))
    assert more["properties"].items() >= plain["properties"].items()
    assert set(more["required"]) - set(plain["required"]) == {"ready", "checks"}


def test_every_call_of_the_api_says_that_it_needs_a_key() -> None:
    for path, method, operation in _operations():
        assert operation.get("security") == ([{"key": []}] if path.startswith(V1) else None), (path, method)


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(openapi_document())
    schemas: Any = openapi_document()["components"]
    referred = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert referred <= set(schemas["schemas"])


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for _, _, operation in _operations()]
    assert len(names) == len(set(names))
