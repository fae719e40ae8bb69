"""What may be asked how often, what need not be sent again, and how a prefix of the URL is served."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from httpx import Client
from pydantic import ValidationError

from api.main import create_app, openapi_document
from hpo.settings import Settings
from tests.integration.api.caller import V1, Api, problem, spec
from tests.integration.api.server import serve

Serve = Callable[..., Api]


@pytest.fixture
def served(api: Api, settings: Settings) -> Iterator[Serve]:
    """The same project and keys through an application with other settings."""
    with ExitStack() as resources:

        def start(**changes: Any) -> Api:
            url = resources.enter_context(serve(create_app(settings.model_copy(update=changes))))
            client = resources.enter_context(Client(base_url=url, timeout=10))
            return Api(client, api.hand, api.project, api.tokens)

        yield start


def test_a_key_that_asks_too_often_is_told_to_wait_and_workers_are_not(served: Serve) -> None:
    api = served(requests_per_s=0.01)  # a burst of one, and nothing more for a minute and a half
    assert api.get("/studies", scope="read").status_code == 200
    refused = api.get("/studies", scope="read")
    assert "0.01 times a second" in problem(refused, 429, "rate_limited")["detail"]
    assert 1 <= int(refused.headers["retry-after"]) <= 100
    assert api.get("/studies", scope="write").status_code == 200  # each key for itself
    for _ in range(5):
        assert api.claim().status_code == 200
    assert api.client.get("/healthz").status_code == 200


def test_keys_that_are_not_valid_are_limited_by_address_and_valid_ones_go_on(served: Serve) -> None:
    api = served(failed_keys_per_min=3.0, key_cache_s=30.0)
    assert api.get("/studies").status_code == 200
    bad = {"Authorization": "Bearer ldr_abc_def"}
    for _ in range(3):
        problem(api.get("/studies", headers=bad), 401, "unauthorized")
    refused = api.get("/studies", headers=bad)
    problem(refused, 429, "rate_limited")
    assert int(refused.headers["retry-after"]) >= 1
    assert api.get("/studies").status_code == 200


def test_every_route_that_needs_a_key_tells_of_429_and_every_json_of_304(api: Api) -> None:
    for path, operations in openapi_document()["paths"].items():  # type: ignore[attr-defined]
        for method, said in operations.items():
            if path.startswith(V1):
                assert "429" in said["responses"], (method, path)
                is_json = "application/json" in said["responses"].get("200", {}).get("content", {})
                assert ("304" in said["responses"]) or not (method == "get" and is_json), path


def test_what_has_not_changed_is_not_sent_again(api: Api) -> None:
    api.create()
    for path in ("/studies", "/studies/s", "/studies/s/trials", "/studies/s/rungs", "/workers", f"{V1}/samplers"):
        first = api.get(path)
        etag = first.headers["etag"]
        assert etag.startswith('W/"')
        assert first.headers["cache-control"] == "private, no-cache"
        for given in (etag, etag.removeprefix("W/"), f'"x", {etag}', "*"):
            again = api.get(path, headers={"If-None-Match": given})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag), path
            assert "x-request-id" in again.headers
        assert api.get(path, headers={"If-None-Match": '"other"'}).json() == first.json()
    problem(api.get("/studies/none", headers={"If-None-Match": "*"}), 404, "not_found")


def test_a_studys_etag_tells_of_its_counts_and_still_serves_if_match(api: Api) -> None:
    api.create(advance=False)
    before = api.get("/studies/s").headers["etag"]
    api.advance(api.get("/studies/s").json())
    after = api.get("/studies/s").headers["etag"]
    assert before != after
    assert before.startswith('W/"1-')
    changed = api.call("PATCH", "/studies/s", {"description": "new"}, headers={"If-Match": before})
    assert changed.status_code == 200
    fresh = api.get("/studies/s").headers["etag"]
    assert api.call("PATCH", "/studies/s", {"description": "newer"}, headers={"If-Match": fresh}).status_code == 200
    problem(api.call("PATCH", "/studies/s", {}, headers={"If-Match": after}), 412, "stale_revision")


@pytest.mark.parametrize("stripped", [True, False])
def test_a_prefix_is_served_whether_the_proxy_strips_it_or_not(served: Serve, stripped: bool) -> None:
    api = served(root_path="/team/ladder")
    base = "" if stripped else "/team/ladder"
    assert api.client.get(f"{base}/healthz").json() == {"status": "ok"}
    created = api.call("POST", f"{base}{V1}/studies", spec())
    assert created.status_code == 201
    location = created.headers["location"]
    assert location == f"/team/ladder{V1}/studies/{created.json()['id']}"
    assert api.call("GET", location).json()["name"] == "s"
    document = api.client.get(f"{base}{V1}/openapi.json").json()
    assert document["servers"] == [{"url": "/team/ladder"}]
    assert f"{V1}/studies" in document["paths"]
    page = api.client.get(f"{base}/docs")
    assert page.status_code == 200
    for asset in _assets(page.text):
        assert asset.startswith("/team/ladder/"), asset
        assert api.client.get(asset).status_code == 200, asset
        assert api.client.get(asset.removeprefix("/team/ladder")).status_code == 200, asset
    assert problem(api.call("GET", f"{base}{V1}/studies/none"), 404, "not_found")["type"] == "/problems/not_found"


def _assets(html: str) -> list[str]:
    return [part.split('"')[0] for name in ("src=", "href=") for part in html.split(f'{name}"')[1:]]


@pytest.mark.parametrize("prefix", ["/api", "/studies/x", "ladder", "/ladder/", "/a b"])
def test_a_prefix_that_cannot_be_told_from_a_path_is_refused(prefix: str) -> None:
    with pytest.raises(ValidationError, match="root_path"):
        Settings(root_path=prefix)


def test_the_api_docs_come_from_here_and_run_under_the_policy(api: Api) -> None:
    page = api.client.get("/docs")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe-eval" not in policy
    assert "<script>" not in page.text
    assert all(asset.startswith("/") and not asset.startswith("//") for asset in _assets(page.text))
    assert any("swagger-ui-bundle.js" in asset for asset in _assets(page.text))


def test_a_problem_is_explained_to_browsers_as_a_page_and_to_programs_as_json(api: Api) -> None:
    page = api.client.get("/problems/lease_lost", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html")
    assert "drop its work" in page.text
    assert "content-security-policy" in page.headers
    for accept in ("*/*", "application/json"):
        told = api.client.get("/problems/lease_lost", headers={"Accept": accept}).json()
        assert (told["code"], told["status"]) == ("lease_lost", 409)
    assert api.client.get("/problems/none", headers={"Accept": "text/html"}).status_code == 404
