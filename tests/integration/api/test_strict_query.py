"""A query parameter that a route does not have: refused by every route of the API, by its name."""

import pytest
from httpx import Response

from tests.contract.api_document import operations
from tests.integration.api.caller import V1, Api, problem, refused, spec

STRICT = [operation for operation in operations() if operation.path.startswith(V1)]


def _asked(api: Api, method: str, path: str, query: str) -> Response:
    named = {"study": "s", "number": 0, "name": "step-1.safetensors", "worker": "w", "contest": "c", "plot": "history"}
    return api.call(method, f"{path.format(**named)}?{query}")


def test_every_route_refuses_a_parameter_that_it_does_not_have_and_tells_those_it_has(api: Api) -> None:
    for operation in STRICT:
        answer = _asked(api, operation.method, operation.path, "page_sise=5")
        if operation.method == "HEAD":
            assert answer.status_code == 422, operation
            continue
        known = sorted(operation.parameters("query"))
        told = f"known are {', '.join(known)}" if known else "none is known here"
        assert refused(answer, "/query/page_sise", "extra_forbidden") == f"unknown parameter, {told}", operation


def test_nothing_is_done_for_a_request_that_is_misspelt(api: Api) -> None:
    answer = api.post("/studies?dry_rum=true", spec())
    assert "dry_run" in refused(answer, "/query/dry_rum")
    assert api.stored() == 0


@pytest.mark.parametrize(
    ("query", "pointer"),
    [("=1", "/query/"), ("a/b~c", "/query/a~1b~0c"), ("x=1&x=2", "/query/x"), (f"{'y' * 5000}=", f"/query/{'y' * 100}"),
     ("%ff=1", "/query/\ufffd"), ("%ED%A0%80=1", "/query/\ufffd\ufffd\ufffd"), ("State=running", "/query/State")],
)  # fmt: skip
def test_any_name_is_told_as_a_pointer(api: Api, query: str, pointer: str) -> None:
    refused(api.get(f"/studies?{query}"), pointer, "extra_forbidden")


def test_of_very_many_unknown_parameters_the_first_are_told(api: Api) -> None:
    answer = api.get("/studies?" + "&".join(f"x{number}=1" for number in range(900)))
    body = problem(answer, 422, "validation_failed")
    assert body["detail"] == "900 fields"
    assert [error["pointer"] for error in body["errors"]] == [f"/query/x{number}" for number in range(20)]


@pytest.mark.parametrize("path", ["/healthz", "/version", "/problems/malformed"])
def test_what_probes_and_browsers_ask_takes_any_parameter(api: Api, path: str) -> None:
    assert api.get(f"{path}?nocache=1").status_code == 200
