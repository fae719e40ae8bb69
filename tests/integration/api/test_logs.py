"""What attempts print, over HTTP: stored once, within bounds, under the lease of the attempt, and read by following."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from hpo.storage import logs
from tests.integration.api.caller import Api, Json, problem, refused

AT = "2026-01-02T03:04:05.5Z"


def line(position: int, text: str = "hello", stream: str = "out") -> Json:
    return {"position": position, "at": AT, "stream": stream, "text": text}


def send(api: Api, trial: Json, *lines: Json, scope: str = "worker") -> Any:
    body = {"lease": trial["lease"]["token"], "lines": list(lines)}
    return api.post(f"/studies/{trial['study']}/trials/{trial['number']}/logs", body, scope=scope)


def read(api: Api, number: int = 0, **query: Any) -> Json:
    answer = api.get(f"/studies/s/trials/{number}/logs", params=query, scope="read")
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def positions(page: Json) -> list[int]:
    return [one["position"] for one in page["items"]]


@pytest.fixture
def trial(api: Api) -> Json:
    api.create()
    (trial,) = api.ask()
    return trial


def test_lines_are_stored_once_however_often_they_are_sent(api: Api, trial: Json) -> None:
    assert send(api, trial, line(1), line(2, "two", "err")).json() == {"attempt": 1, "stored": 2}
    assert send(api, trial, line(1, "another"), line(2), line(3, "three", "ladder")).json()["stored"] == 1
    page = read(api)
    assert [(one["stream"], one["text"]) for one in page["items"]] == [
        ("out", "hello"),
        ("err", "two"),
        ("ladder", "three"),
    ]
    assert datetime.fromisoformat(page["items"][0]["at"]) == datetime(2026, 1, 2, 3, 4, 5, 500_000, UTC)
    assert (page["attempt"], page["attempts"], page["cut"], page["ended"]) == (1, 1, 0, False)


def test_a_reader_follows_by_the_last_position_and_pages_through_what_is_long(api: Api, trial: Json) -> None:
    send(api, trial, *(line(n) for n in range(1, 11)))
    assert positions(read(api, tail=3)) == [8, 9, 10]
    assert positions(read(api, after=8)) == [9, 10]
    assert read(api, after=10)["items"] == []
    page = read(api, after=0, tail=4)
    seen = positions(page)
    while page["next_page_token"]:
        page = read(api, tail=4, page_token=page["next_page_token"])
        seen += positions(page)
    assert seen == list(range(1, 11))
    send(api, trial, line(11))
    assert positions(read(api, after=10)) == [11]


def test_only_the_newest_lines_and_bytes_are_kept(api: Api, trial: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "KEPT_LINES", 5)
    for first in (1, 4, 7):
        send(api, trial, *(line(n) for n in range(first, first + 3)))
    page = read(api)
    assert positions(page) == [5, 6, 7, 8, 9]
    assert page["cut"] == 4
    monkeypatch.setattr(logs, "KEPT_BYTES", 250)
    send(api, trial, line(10, "x" * 100), line(11, "ä" * 50), line(12, "y" * 90))
    assert positions(read(api)) == [11, 12]


def test_each_attempt_has_lines_of_its_own_and_may_send_the_last_after_its_end(api: Api, trial: Json) -> None:
    send(api, trial, line(1, "first"))
    api.post("/studies/s/trials/0/release", {"lease": trial["lease"]["token"]}, scope="worker")
    assert send(api, trial, line(2, "last words")).status_code == 200
    assert read(api)["ended"] is True
    again = next(one for one in api.ask(count=4) if one["number"] == 0)
    send(api, again, line(1, "second"))
    assert [one["text"] for one in read(api)["items"]] == ["second"]
    assert [one["text"] for one in read(api, attempt=1)["items"]] == ["first", "last words"]
    assert read(api, attempt=1)["attempts"] == 2
    problem(api.get("/studies/s/trials/0/logs?attempt=3"), 404, "not_found")


def test_without_the_attempts_lease_nothing_is_stored(api: Api, other: Api, trial: Json) -> None:
    strange = trial | {"lease": {"token": str(uuid4())}}
    problem(send(api, strange, line(1)), 409, "lease_lost")
    problem(send(api, trial | {"number": 3}, line(1)), 404, "not_found")
    problem(send(api, trial | {"number": 0}, line(1), scope="read"), 403, "forbidden")
    other.create()
    other.ask()
    problem(send(other, trial, line(1)), 409, "lease_lost")
    api.post("/studies/s/trials/0/release", {"lease": trial["lease"]["token"]}, scope="worker")
    api.hand.execute("UPDATE attempt SET ended_at = ended_at - interval '2 hours' WHERE lease_id = %(lease)s",
                     lease=trial["lease"]["token"])  # fmt: skip
    problem(send(api, trial, line(1)), 409, "lease_lost")
    assert read(api)["items"] == []


def test_a_line_that_cannot_be_stored_is_named(api: Api, trial: Json) -> None:
    assert "at most 4096 bytes, got 4098" in refused(
        send(api, trial, line(1, "ä" * 2049)), "/lines/0/text", "line_too_long"
    )
    refused(send(api, trial, line(1), line(0)), "/lines/1/position")
    refused(send(api, trial, line(1, stream="other")), "/lines/0/stream")
    refused(send(api, trial, line(1) | {"at": "2026-01-01T00:00:00"}), "/lines/0/at")
    refused(send(api, trial, line(1) | {"at": "9999-12-31T23:59:59-12:00"}), "/lines/0/at")
    refused(send(api, trial), "/lines")


def test_a_trial_that_was_never_begun_has_no_lines(api: Api) -> None:
    api.create()
    page = read(api)
    assert (page["items"], page["attempt"], page["attempts"]) == ([], None, 0)
