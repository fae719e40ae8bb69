"""The live stream: every event once, in order, from where the reader left off, until the study has ended."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI

from hpo.storage import trials as stored
from hpo.storage.keys import revoke
from tests.integration.api.caller import V1, Api, Json, problem

Event = tuple[int, str, Json]
WORKER = {"queue": "cpu", "protocol_version": 3}


class _Reader:
    """Reads a stream on a thread until it ends or is closed."""

    def __init__(self, api: Api, path: str, *, after: int | None = None) -> None:
        self.found: list[Event] = []
        self._api = api
        self._changed = threading.Condition()
        self._closed = False
        headers = {"Authorization": f"Bearer {api.tokens['read']}"}
        self._url = path if after is None else f"{path}?after={after}"
        self._stream = api.client.stream("GET", self._url, headers=headers)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with self._stream as answer:
            block: list[str] = []
            for line in answer.iter_lines():
                block.append(line)
                if not line:
                    with self._changed:
                        self.found += _events("\n".join(block))
                        self._changed.notify_all()
                        if self._closed:
                            return
                    block = []

    def wait_for(self, condition: Callable[[list[Event]], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self.found), 10), self.found

    def join(self) -> None:
        self._thread.join(15)
        assert not self._thread.is_alive()

    def close(self) -> None:
        """End a stream that has no end: the thread looks up at the next event, which is made here."""
        self._closed = True
        self._api.call("PUT", "/workers/last", WORKER, scope="worker")
        self.join()
        while self.found[-1][2].get("name") == "last":
            self.found.pop()


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


def test_an_id_that_the_log_does_not_have_is_answered_with_reset(ended: Api) -> None:
    last = len(_read(ended))
    for read in (_read(ended, "?after=999999"), _read(ended, **{"Last-Event-ID": "999999"})):
        assert read == [(last, "reset", {"reason": "beyond", "last_seq": last})]
    ended.hand.execute(
        "DELETE FROM event WHERE seq <= 3 AND study_id = %(study)s", study=ended.get("/studies/s").json()["id"]
    )
    assert _read(ended, "?after=1") == [(last, "reset", {"reason": "gone", "last_seq": last})]
    assert [seq for seq, _, _ in _read(ended, "?after=3")] == list(range(4, last + 1))


def test_many_readers_of_one_study_miss_nothing_and_share_one_look_at_the_database(
    api: Api, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = api.create(budget={"max_trials": 3})
    trials = api.ask(count=3)
    readers = [_Reader(api, f"{V1}/studies/s/events", after=after) for after in (0, 0, 2, 4)]
    for reader in readers:
        reader.wait_for(lambda found: any(kind == "trial-started" for _, kind, _ in found))
    api.post("/studies/s/pause")
    api.post("/studies/s/resume")
    resumed = api.get("/studies/s").json()
    newest = api.hand.scalar("SELECT last_seq FROM study WHERE id = %(s)s", s=resumed["id"])
    for reader in readers:
        reader.wait_for(lambda found: bool(found) and found[-1][0] >= newest)
    live, reads = app.state.services.live, list[object]()
    read = stored.events
    monkeypatch.setattr(stored, "events", lambda *given, **named: reads.append(given) or read(*given, **named))
    looks = live.looks
    for step in (1, 2, 3):
        for trial in trials:
            api.report(trial, step, 0.5 / step)
    api.advance(study)
    for reader in readers:
        reader.join()
    assert 1 <= len(reads) <= live.looks - looks
    whole = _read(api)
    for reader, after in zip(readers, (0, 0, 2, 4), strict=True):
        assert reader.found == whole[after:]


def _project(api: Api, query: str = "", **headers: str) -> list[Event]:
    return _events(api.get(f"{V1}/events?follow=false{query}", scope="read", headers=headers).text)


def test_the_projects_stream_tells_studies_and_workers_as_they_are_and_as_they_change(api: Api, other: Api) -> None:
    other.create("theirs")
    api.call("PUT", "/workers/w", WORKER, scope="worker")
    reader = _Reader(api, f"{V1}/events")
    reader.wait_for(lambda found: [kind for _, kind, _ in found][:1] == ["worker-updated"])
    assert reader.found[0][2] == {"name": "w", "state": "idle", "trial": None}
    study = api.create()
    reader.wait_for(lambda found: any(data.get("study") == study["id"] for _, _, data in found))
    (trial,) = api.ask(worker="w")
    reader.wait_for(lambda found: ("worker-updated", "s/0") in [(kind, data.get("trial")) for _, kind, data in found])
    api.report(trial, 3)
    api.post("/studies/s/cancel")
    reader.wait_for(lambda found: any(data.get("state") == "cancelled" for _, _, data in found))
    reader.close()
    newest = [data for _, kind, data in reader.found if kind == "study-updated"][-1]
    assert newest["last_seq"] == api.hand.scalar("SELECT last_seq FROM study WHERE id = %(s)s", s=study["id"])
    assert newest["counts"] == api.get("/studies/s").json()["counts"]
    assert all(data.get("name") in ("s", "w") for _, _, data in reader.found)


def test_who_comes_back_to_the_projects_stream_is_told_what_was_committed_late(api: Api) -> None:
    api.create("early")
    api.create("late")
    seen = max(seq for seq, kind, _ in _project(api) if kind == "study-updated")
    # Committed after the reader saw ``seen``, though its time is before: as a transaction that took long does.
    api.hand.execute(
        "UPDATE study SET updated_at = to_timestamp(%(seen)s / 1e6) - interval '20 s', name = 'renamed'"
        " WHERE name = 'late' AND project_id = %(p)s", seen=seen, p=api.project,
    )  # fmt: skip
    told = {data["name"] for _, kind, data in _project(api, **{"Last-Event-ID": str(seen)}) if kind == "study-updated"}
    assert "renamed" in told
    api.hand.execute(
        "UPDATE study SET updated_at = updated_at - interval '1 hour' WHERE project_id = %(p)s", p=api.project
    )
    assert not [data for _, kind, data in _project(api, f"&after={seen}") if kind == "study-updated"]
    everything = {data["name"] for _, kind, data in _project(api, "&after=0") if kind == "study-updated"}
    assert everything == {"early", "renamed"}


def test_a_live_reader_is_told_what_was_committed_late_and_nothing_twice(api: Api) -> None:
    api.create("early")
    api.create("late")
    reader = _Reader(api, f"{V1}/events")
    reader.wait_for(lambda found: len([1 for _, kind, _ in found if kind == "study-updated"]) >= 4)
    before = len(reader.found)
    api.hand.execute("UPDATE study SET last_seq = last_seq + 1, updated_at = updated_at - interval '5 s'"
                     " WHERE name = 'early' AND project_id = %(p)s", p=api.project)  # fmt: skip
    reader.wait_for(lambda found: len(found) > before)
    api.post("/studies/late/pause")
    reader.wait_for(lambda found: any(data.get("state") == "paused" for _, _, data in found))
    reader.close()
    assert [data["name"] for _, _, data in reader.found[before:]] == ["early", "late"]
    ids = [seq for seq, _, _ in reader.found[before:]]
    assert ids == sorted(ids)


def test_an_id_of_the_future_resets_the_projects_stream(api: Api) -> None:
    (first, *_) = _project(api, "&after=999999999999999999")
    assert first[1:] == ("reset", {"reason": "beyond", "last_seq": None})
    problem(api.get(f"{V1}/events?follow=false", headers={"Last-Event-ID": "x"}), 400, "malformed")


@pytest.mark.parametrize("path", ["/events", "/studies/s/events"])
def test_a_stream_ends_with_the_key_that_it_was_opened_by(api: Api, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.routes.events.LOOK_S", 0.1)
    api.create(advance=False)
    reader = _Reader(api, f"{V1}{path}")
    reader.wait_for(bool)
    key_id = api.tokens["read"].split("_")[1]
    assert api.hand.db.write(lambda tx: revoke(tx, api.project, key_id))
    reader.join()
