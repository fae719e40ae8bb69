"""The live stream: every event once, in order, from where the reader left off, until the study has ended."""

import json
import threading
from typing import Any

import pytest

from tests.integration.api.caller import V1, Api, Json, problem

Event = tuple[int, str, Json]


def _read(api: Api, query: str = "", **headers: str) -> list[Event]:
    """All events of a stream that ends by itself."""
    answer = api.get(f"/studies/s/events{query}", scope="read", headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    return _events(answer.text)


def _events(text: str) -> list[Event]:
    found: list[Event] = []
    for block in text.strip().split("\n\n"):
        fields: dict[str, str] = {}
        for line in block.splitlines():
            name, _, value = line.partition(": ")
            fields[name] = value
        if "data" in fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


@pytest.fixture
def ended(api: Api) -> Api:
    study = api.create(budget={"max_trials": 1})
    (trial,) = api.ask()
    api.report(trial, 1, 0.4)
    api.report(trial, 3, 0.3)
    api.advance(study)
    assert api.get("/studies/s").json()["state"] == "finished"
    return api


def test_the_stream_of_an_ended_study_tells_all_and_ends(ended: Api) -> None:
    events = _read(ended)
    assert [seq for seq, _, _ in events] == list(range(1, len(events) + 1))
    kinds = [kind for _, kind, _ in events]
    assert kinds[0] == kinds[-1] == "study-updated"
    trial = ["trial-created", "trial-started", "trial-reported", "trial-finished"]
    assert [kind for kind in kinds if kind.startswith("trial")] == trial
    seq, kind, data = events[1]
    assert (data["seq"], data["type"], data["trial"]) == (seq, kind, 0)
    assert events[-1][2]["data"]["state"] == "finished"


def test_a_reader_comes_back_with_the_last_id_and_misses_nothing(ended: Api) -> None:
    events = _read(ended)
    assert _read(ended, "?after=3") == events[3:]
    assert _read(ended, **{"Last-Event-ID": "3"}) == events[3:]
    assert _read(ended, "?after=1", **{"Last-Event-ID": "4"}) == events[4:]
    assert _read(ended, f"?after={len(events)}") == []
    assert _read(ended, "?after=999999") == []


def test_the_stream_goes_on_with_what_happens_and_ends_with_the_study(api: Api) -> None:
    study = api.create(budget={"max_trials": 1})
    (trial,) = api.ask()
    seen: list[str] = []
    started = threading.Event()

    def read() -> None:
        headers = {"Authorization": f"Bearer {api.tokens['read']}"}
        with api.client.stream("GET", f"{V1}/studies/s/events", headers=headers) as answer:
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    seen.append(line.removeprefix("event: "))
                    if seen[-1] == "trial-started":
                        started.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert started.wait(10)
    api.report(trial, 3)
    api.advance(study)
    reader.join(15)
    assert not reader.is_alive()
    assert seen[-3:] == ["trial-finished", "study-updated", "study-updated"]


def test_the_stream_goes_on_until_the_winners_are_confirmed(api: Api) -> None:
    study = api.create(
        **{
            "trainer": {"name": "synthetic"},
            "objectives": [{"metric": "acc", "direction": "maximize"}],
            "scheduler": {"type": "fifo", "max_resource": 1},
            "budget": {"max_trials": 1},
            "confirm": {"top": 1, "seeds": 1},
        }
    )

    def train(study: Json, **score: float) -> None:
        api.advance(study)
        assert api.report(api.claim().json()["trial"], 1, metrics={"acc": 0.5, **score}).status_code == 200
        api.advance(study)

    train(study)
    seen: list[Json] = []
    begun = threading.Event()

    def read() -> None:
        headers = {"Authorization": f"Bearer {api.tokens['read']}"}
        with api.client.stream("GET", f"{V1}/studies/s/events", headers=headers) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: ") and "confirmation" in (data := json.loads(line[6:])["data"]):
                    seen.append(data["confirmation"])
                    begun.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(10)
    child = api.get("/studies/s.confirm").json()
    train(child)
    train(child, test_acc=0.5, test_images=9)
    reader.join(15)
    assert not reader.is_alive()
    assert [one["state"] for one in seen] == ["running", "finished"]


def test_a_stream_of_nothing_is_refused_before_it_begins(api: Api, other: Api) -> None:
    api.create()
    problem(other.get("/studies/s/events"), 404, "not_found")
    problem(api.get("/studies/s/events", scope="worker"), 403, "forbidden")
    answer: Any = api.get("/studies/s/events?after=-1")
    assert problem(answer, 422, "validation_failed")["errors"][0]["pointer"] == "/query/after"
