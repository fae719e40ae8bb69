"""The event stream: parsing, resuming, ending."""

import json

import pytest

from ladder.client import Client
from ladder.errors import NotFoundError, Unreachable
from ladder.events import Message, parse
from tests.unit.ladder.serving import STUDY, Reply, problem, serving

FINISHED = {**STUDY, "state": "finished"}


def event(seq: int) -> str:
    data = {"seq": seq, "type": "trial-reported", "trial": 1, "data": {}, "at": "2026-01-02T03:04:05Z"}
    return f"event: trial-reported\nid: {seq}\ndata: {json.dumps(data)}\n\n"


def test_messages_are_split_at_empty_lines_and_comments_are_dropped() -> None:
    lines = [": ping", "", "event: a", "id: 7", "data: one", "data:two", "", "data: three", "", "data: cut off"]
    assert list(parse(lines)) == [Message("a", "7", "one\ntwo"), Message("message", "7", "three")]


def test_a_stream_that_ends_before_the_study_is_taken_up_where_it_ended() -> None:
    script = [Reply(200, STUDY), Reply(200, event(1) + event(2)), Reply(200, FINISHED), Reply(200, event(3))]
    with serving(*script) as server, Client(server.url, "t") as client:
        assert [one.seq for one in client.studies.events("digits")] == [1, 2, 3]
    assert "last-event-id" not in server.asked[1].headers
    assert server.asked[3].headers["last-event-id"] == "2"


def test_after_says_where_to_begin() -> None:
    with serving(Reply(200, FINISHED), Reply(200, event(9))) as server, Client(server.url, "t") as client:
        assert [one.seq for one in client.studies.events("digits", after=8)] == [9]
    assert server.asked[1].headers["last-event-id"] == "8"


def test_a_stream_that_breaks_again_and_again_is_given_up() -> None:
    script = [Reply(200, STUDY), Reply(0), Reply(200, STUDY), Reply(0)]
    with serving(*script) as server, Client(server.url, "t", retries=1) as client, pytest.raises(Unreachable):
        list(client.studies.events("digits"))
    assert len(server.asked) == 4


def test_an_unknown_study_has_no_events() -> None:
    with (
        serving(problem(404, "not_found")) as server,
        Client(server.url, "t") as client,
        pytest.raises(NotFoundError),
    ):
        list(client.studies.events("digits"))
