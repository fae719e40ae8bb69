"""A study's event stream over server-sent events: it resumes by itself and ends with the study."""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from api.schemas.studies import StudyRead
from api.schemas.trials import EventRead
from hpo.domain.study import STUDY_ENDED
from ladder.http import API, Http
from ladder.wire import BROKEN

SILENCE_S = 60.0  # the server sends a comment far more often; a longer silence is a dead connection
PAUSE_S = 0.5


@dataclass(frozen=True, slots=True)
class Message:
    """One server-sent event as it came over the wire."""

    event: str
    id: str
    data: str


def parse(lines: Iterable[str]) -> Iterator[Message]:
    """Split the lines of a text/event-stream into messages; comments and empty messages are dropped."""
    event, id_, data = "message", "", list[str]()
    for line in lines:
        if not line:
            if data:
                yield Message(event, id_, "\n".join(data))
            event, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            event = value
        elif field == "id":
            id_ = value
        elif field == "data":
            data.append(value)


def follow(http: Http, path: str, *, after: int | None, retries: int, live: bool = True) -> Iterator[EventRead]:
    """Events of the study at ``path`` after sequence number ``after``, as they happen, until it has ended.

    So has its confirmation then. Unless ``live`` only those that are there now.
    A broken stream is taken up where it broke. Raises Unreachable after ``retries`` breaks in a row without an event.
    """
    cursor, failures = after, 0
    while True:
        # Asked before the stream is read: what happened before this answer is in the log that the stream sends.
        ended = not live or _ended(StudyRead.model_validate_json(http.request("GET", path).content))
        try:
            for message in _stream(http, f"{path}/events" if live else f"{path}/events?follow=false", cursor):
                failures = 0
                if message.event == "reset":  # the server no longer holds what comes after the cursor
                    cursor = None
                    break
                event = EventRead.model_validate_json(message.data)
                cursor = event.seq
                yield event
            else:
                if ended:
                    return
        except BROKEN as error:
            failures += 1
            if failures > retries:
                raise http.unreachable(error) from error
        time.sleep(PAUSE_S)


@dataclass(frozen=True, slots=True)
class ProjectEvent:
    """``study-updated`` or ``worker-updated`` with what it says; ``id`` is where a later stream can go on."""

    type: str
    id: str
    data: dict[str, Any]


def follow_project(http: Http, *, after: str | None, retries: int) -> Iterator[ProjectEvent]:
    """Events of all studies and workers, for ever. Raises Unreachable after ``retries`` breaks without an event."""
    cursor, failures = after, 0
    while True:
        try:
            for message in _stream(http, f"{API}/events", cursor):
                failures = 0
                cursor = message.id or cursor
                if message.event != "reset":  # what came before is no longer there: the next events are whole states
                    yield ProjectEvent(message.event, message.id, json.loads(message.data))
        except BROKEN as error:
            failures += 1
            if failures > retries:
                raise http.unreachable(error) from error
        time.sleep(PAUSE_S)


def _ended(study: StudyRead) -> bool:
    """Whether nothing more will happen to it: what becomes of its winners is told by events of its own."""
    return study.state in STUDY_ENDED and (study.confirmation is None or study.confirmation.state != "running")


def _stream(http: Http, path: str, cursor: int | str | None) -> Iterator[Message]:
    headers = {"Accept": "text/event-stream", **({} if cursor is None else {"Last-Event-ID": str(cursor)})}
    with http.open(path, headers=headers, silence_s=SILENCE_S) as response:
        yield from parse(line.decode().rstrip("\r\n") for line in response)
