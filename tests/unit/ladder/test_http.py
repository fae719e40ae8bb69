"""Requests: retries, problems, one connection, tokens."""

import socket

import pytest

from ladder.client import Client
from ladder.errors import ApiError, ConflictError, LeaseLost, LocalError, NotFoundError, Unreachable
from ladder.http import Http
from ladder.ports import free_port
from tests.unit.ladder.serving import STUDY, Reply, problem, serving


def test_a_lost_answer_and_a_503_are_retried_with_the_same_idempotency_key() -> None:
    with serving(Reply(0), problem(503, "unavailable"), Reply(201, STUDY)) as server, Client(server.url, "t") as client:
        assert client.studies.create({"name": "digits"}).name == "digits"
    keys = [asked.headers["idempotency-key"] for asked in server.asked]
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_two_creations_have_two_idempotency_keys() -> None:
    with serving(Reply(201, STUDY)) as server, Client(server.url, "t") as client:
        client.studies.create({"name": "digits"})
        client.studies.create({"name": "digits"})
    assert len({asked.headers["idempotency-key"] for asked in server.asked}) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 413, 422, 500])
def test_a_refusal_is_not_retried(status: int) -> None:
    with (
        serving(problem(status, "some_code", "why")) as server,
        Client(server.url, "t") as client,
        pytest.raises(ApiError, match="why") as caught,
    ):
        client.studies.read("digits")
    assert len(server.asked) == 1
    assert (caught.value.status, caught.value.code) == (status, "some_code")


def test_retries_are_bounded_and_end_in_unreachable() -> None:
    with (
        serving(problem(503, "unavailable", "Postgres cannot be reached")) as server,
        Client(server.url, "t", retries=2) as client,
        pytest.raises(Unreachable, match="Postgres") as caught,
    ):
        client.studies.read("digits")
    assert len(server.asked) == 3
    assert caught.value.status == 503


def test_no_server_is_unreachable_with_the_url_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url, "t", retries=1) as client, pytest.raises(Unreachable, match=f"{url} cannot be reached"):
        client.studies.read("digits")


def test_a_server_that_never_answers_is_given_up_after_the_timeout() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with Client(url, "t", timeout_s=0.05, retries=0) as client, pytest.raises(Unreachable, match="in time"):
            client.studies.read("digits")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "not_found", NotFoundError),
        (409, "name_taken", ConflictError),
        (412, "stale_revision", ConflictError),
        (409, "lease_lost", LeaseLost),
        (504, "gateway_timeout", Unreachable),
        (422, "validation_failed", ApiError),
    ],
)
def test_each_refusal_has_its_exception(status: int, code: str, kind: type[ApiError]) -> None:
    with (
        serving(problem(status, code)) as server,
        Client(server.url, "t", retries=0) as client,
        pytest.raises(ApiError) as caught,
    ):
        client.studies.read("digits")
    assert type(caught.value) is kind


def test_field_errors_and_request_id_come_with_the_exception() -> None:
    errors = [{"pointer": "/search_space/0/low", "code": "log_needs_positive", "message": "low must be > 0"}]
    reply = problem(422, "validation_failed", "1 field", request_id="r-1", errors=errors)
    with serving(reply) as server, Client(server.url, "t") as client, pytest.raises(ApiError) as caught:
        client.studies.create({"name": "digits"})
    assert caught.value.request_id == "r-1"
    (field,) = caught.value.errors
    assert (field.pointer, field.code, field.message) == (
        "/search_space/0/low",
        "log_needs_positive",
        "low must be > 0",
    )
    assert "/search_space/0/low: low must be > 0" in str(caught.value)


def test_a_page_that_is_no_problem_document_is_still_an_error() -> None:
    with (
        serving(Reply(404, "<html>nginx</html>")) as server,
        Client(server.url, "t") as client,
        pytest.raises(NotFoundError, match="404 Not Found") as caught,
    ):
        client.studies.read("digits")
    assert caught.value.code == "http_404"


def test_requests_share_one_connection() -> None:
    with serving(Reply(200, STUDY)) as server, Client(server.url, "t") as client:
        for _ in range(5):
            client.studies.read("digits")
    assert len({asked.connection for asked in server.asked}) == 1


def test_a_connection_that_the_server_closed_in_between_costs_no_retry() -> None:
    closing = Reply(200, STUDY, {"Connection": "close"})
    with serving(closing, Reply(0), Reply(200, STUDY)) as server:
        http = Http(server.url, None, timeout_s=5, retries=0)
        http.request("GET", "/one")
        with pytest.raises(Unreachable):  # a fresh connection that breaks is an error: nothing says it is stale
            http.request("GET", "/two")
        http.request("GET", "/three")
        server.script[:] = [Reply(0), Reply(200, STUDY)]
        http.request("GET", "/four")  # on the kept connection of /three, which breaks, then on a fresh one
        http.close()
    assert [asked.path for asked in server.asked] == ["/one", "/two", "/three", "/four", "/four"]


def test_the_token_is_sent_as_bearer_and_none_is_sent_without() -> None:
    with serving(Reply(200, STUDY)) as server:
        for token in ("ldr_a_b", None):
            http = Http(server.url, token, timeout_s=5, retries=0)
            http.request("GET", "/x")
            http.close()
    assert server.asked[0].headers["authorization"] == "Bearer ldr_a_b"
    assert "authorization" not in server.asked[1].headers


def test_a_path_in_the_url_goes_before_every_request() -> None:
    with serving(Reply(200, STUDY)) as server, Client(f"{server.url}/ladder/", "t") as client:
        client.studies.read("digits")
    assert server.asked[0].path == "/ladder/api/v1/studies/digits"


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "http://x:port", ""])
def test_what_is_no_url_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(LocalError, match="no URL") as caught:
        Http(url, None, timeout_s=1, retries=0)
    assert "http://127.0.0.1:8000" in caught.value.hint
