"""Every POST of the document, sent twice with one Idempotency-Key, is done once and answered alike.

A path that is new in ``openapi.json`` fails here until ``SAMPLES`` has a request for it.
"""

import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from httpx import Response

from hpo.storage.tables import Base
from tests.contract.api_document import operations
from tests.integration.api.caller import V1, Api, Json, problem, spec
from tests.integration.api.test_contests import contest

POSTS = {operation.path: operation for operation in operations() if operation.method == "POST"}
TOGETHER = 4


@dataclass(frozen=True)
class Request:
    """``other`` is a valid request to the same path that is not the same: another body, or for another object."""

    url: str
    body: Any
    other: "Request | None" = None

    def send(self, api: Api, key: str) -> Response:
        return api.post(V1 + self.url, self.body, headers={"Idempotency-Key": key})

    def instead(self, body: Any) -> "Request":
        return Request(self.url, self.body, Request(self.url, body))


def _create(api: Api) -> Request:
    return Request("/studies", spec()).instead(spec("t"))


def _contest(api: Api) -> Request:
    return Request("/contests", contest()).instead(contest("d"))


def _verb(verb: str, *before: str, **changes: Any) -> Callable[[Api], Request]:
    """A command without a body of a study that is running, or where ``before`` has brought it."""

    def make(api: Api) -> Request:
        for name in ("s", "t"):
            api.create(name, advance=False, **changes)
            for step in before:
                assert api.post(f"/studies/{name}/{step}").status_code == 200
        return Request(f"/studies/s/{verb}", None, Request(f"/studies/t/{verb}", None))

    return make


def _on_study(verb: str, body: Any, other: Any) -> Callable[[Api], Request]:
    def make(api: Api) -> Request:
        api.create(advance=False)
        return Request(f"/studies/s/{verb}", body).instead(other)

    return make


def _ask(api: Api) -> Request:
    api.create()
    return Request("/studies/s/ask", {"worker": "w"}).instead({"worker": "v"})


def _import(api: Api) -> Request:
    trials = [{"number": n, "state": "complete", "params": {"x": 0.5}, "values": [0.25]} for n in range(2)]
    page = {"study": spec("taken-in"), "source": "test", "trials": trials}
    return Request("/studies/import", page).instead(page | {"source": "another"})


def _claim(api: Api) -> Request:
    api.create(trainer={"name": "synthetic", "config": {"epoch_s": 0.0}})
    claim = {"worker": "w", "queue": "cpu", "claim_id": str(uuid4())}
    return Request("/claim", claim).instead(claim | {"claim_id": str(uuid4())})


def _leased(verb: str, body: Json, other: Json) -> Callable[[Api], Request]:
    """A call of a trial that an external trainer has."""

    def make(api: Api) -> Request:
        api.create()
        (trial,) = api.ask()
        lease = {"lease": trial["lease"]["token"]}
        return Request(f"/studies/s/trials/{trial['number']}/{verb}", lease | body).instead(lease | other)

    return make


def _stop_trial(api: Api) -> Request:
    api.create(budget={"max_trials": 4, "max_concurrent": 4})
    one, two = (trial["number"] for trial in api.ask(count=2))
    return Request(f"/studies/s/trials/{one}/stop", None, Request(f"/studies/s/trials/{two}/stop", None))


def _retry_trial(api: Api) -> Request:
    api.create(budget={"max_trials": 4, "max_concurrent": 4})
    trials = api.ask(count=2)
    for trial in trials:
        error = {"type": "ValueError", "message": "x", "traceback": "", "retryable": False}
        assert api.tell(trial, state="failed", error=error).status_code == 200
    one, two = (trial["number"] for trial in trials)
    return Request(f"/studies/s/trials/{one}/retry", None, Request(f"/studies/s/trials/{two}/retry", None))


def _extend(api: Api) -> Request:
    api.create(advance=False)
    return Request("/studies/s/extend", {"budget": {"max_trials": 9}}).instead({"budget": {"max_trials": 10}})


def _worker(verb: str) -> Callable[[Api], Request]:
    def make(api: Api) -> Request:
        for name in ("w", "v"):
            body = {"queue": "cpu", "protocol_version": 3}
            assert api.call("PUT", f"/workers/{name}", body, scope="worker").status_code == 200
        return Request(f"/workers/w/{verb}", None, Request(f"/workers/v/{verb}", None))

    return make


def _lines(text: str) -> Json:
    return {"lines": [{"position": 1, "at": "2026-01-01T00:00:00Z", "stream": "out", "text": text}]}


ANOTHER = {"lease": str(uuid4())}
REPORT = {"step": 1, "metrics": {"loss": 0.5}}
STUDY, TRIAL = f"{V1}/studies/{{study}}", f"{V1}/studies/{{study}}/trials/{{number}}"
SAMPLES: Mapping[str, Callable[[Api], Request]] = {
    f"{V1}/studies": _create,
    f"{V1}/contests": _contest,
    f"{V1}/claim": _claim,
    f"{V1}/studies/import": _import,
    f"{STUDY}/start": _verb("start", start=False),
    f"{STUDY}/pause": _verb("pause"),
    f"{STUDY}/resume": _verb("resume", "pause"),
    f"{STUDY}/stop": _verb("stop"),
    f"{STUDY}/cancel": _verb("cancel"),
    f"{STUDY}/archive": _verb("archive", "cancel"),
    f"{STUDY}/unarchive": _verb("unarchive", "cancel", "archive"),
    f"{STUDY}/extend": _extend,
    f"{STUDY}/clone": _on_study("clone", {"name": "t"}, {"name": "u"}),
    f"{V1}/workers/{{worker}}/drain": _worker("drain"),
    f"{V1}/workers/{{worker}}/resume": _worker("resume"),
    f"{TRIAL}/stop": _stop_trial,
    f"{TRIAL}/retry": _retry_trial,
    f"{STUDY}/ask": _ask,
    f"{STUDY}/trials": _on_study("trials", {"params": {"x": 0.5}}, {"params": {"x": 0.25}}),
    f"{TRIAL}/heartbeat": _leased("heartbeat", {}, ANOTHER),
    f"{TRIAL}/report": _leased("report", REPORT, REPORT | {"step": 2}),
    f"{TRIAL}/logs": _leased("logs", _lines("a"), _lines("b")),
    f"{TRIAL}/release": _leased("release", {}, ANOTHER),
    f"{TRIAL}/tell": _leased("tell", {"state": "complete"}, {"state": "complete", "values": [0.5]}),
}

# What its own body makes safe to send again: a claim id, a lease, a step. They take no Idempotency-Key, which would
# cost the hot path a row. Of each the field of its answer that moves on with the clock.
BY_NATURE: Mapping[str, str] = {
    f"{V1}/claim": "expires_at",
    f"{TRIAL}/heartbeat": "lease_expires_at",
    f"{TRIAL}/report": "lease_expires_at",
}
KEYED = [path for path in POSTS if "idempotency-key" in POSTS[path].parameters("header")]

TABLES = [table.name for table in Base.metadata.sorted_tables]
COUNTS = " UNION ALL ".join(f"SELECT '{table}', count(*), 0 FROM {table}" for table in TABLES)
CONTENTS = " UNION ALL ".join(f"SELECT '{t}', count(*), coalesce(sum(hashtext(t::text)), 0) FROM {t} t" for t in TABLES)


def rows(api: Api, query: str = COUNTS) -> dict[str, tuple[int, int]]:
    """Rows of each table, with a hash of their contents if ``query`` asks for it; keys note their last use."""
    found = {name: (count, mark) for name, count, mark in api.hand.db.read(lambda tx: tx.exec_driver_sql(query).all())}
    return {name: row for name, row in found.items() if name not in ("idempotency_key", "api_key")}


def effect(api: Api, work: Callable[[], Any]) -> dict[str, int]:
    """How many rows ``work`` adds to each table."""
    before = rows(api)
    work()
    return {name: count - before[name][0] for name, (count, _) in rows(api).items() if count != before[name][0]}


def test_every_post_has_a_sample_and_every_sample_is_a_post() -> None:
    assert set(SAMPLES) == set(POSTS), "add a request that works to SAMPLES, or take out one that is gone"
    assert set(BY_NATURE) == set(POSTS) - set(KEYED), "a POST takes an Idempotency-Key or needs none by its nature"


@pytest.mark.parametrize("path", KEYED)
def test_a_repeated_post_is_answered_as_the_first_and_changes_nothing(api: Api, path: str) -> None:
    request, key = SAMPLES[path](api), str(uuid4())
    first = request.send(api, key)
    assert first.is_success, first.text
    before = rows(api, CONTENTS)
    again = request.send(api, key)
    assert (again.status_code, again.text) == (first.status_code, first.text)
    for header in ("location", "etag", "content-type"):
        assert again.headers.get(header) == first.headers.get(header)
    assert rows(api, CONTENTS) == before


@pytest.mark.parametrize("path", KEYED)
def test_the_key_of_another_request_is_refused_and_nothing_done(api: Api, path: str) -> None:
    request, key = SAMPLES[path](api), str(uuid4())
    assert request.send(api, key).is_success
    before = rows(api, CONTENTS)
    assert request.other is not None
    problem(request.other.send(api, key), 422, "idempotency_key_reused")
    assert rows(api, CONTENTS) == before
    assert request.other.send(api, str(uuid4())).status_code < 500


@pytest.mark.parametrize("path", KEYED)
def test_posts_with_one_key_at_the_same_time_have_one_effect(api: Api, other: Api, path: str) -> None:
    alone, once = SAMPLES[path](other), SAMPLES[path](api)
    wanted = effect(other, lambda: alone.send(other, str(uuid4())))
    key, together = str(uuid4()), threading.Barrier(TOGETHER)
    answers: list[Response] = []

    def send(_: int) -> Response:
        together.wait(10)
        return once.send(api, key)

    def all_at_once() -> None:
        with ThreadPoolExecutor(TOGETHER) as pool:
            answers.extend(pool.map(send, range(TOGETHER)))

    assert effect(api, all_at_once) == wanted
    done = {(answer.status_code, answer.text) for answer in answers if answer.is_success}
    assert len(done) == 1
    for answer in answers:
        if not answer.is_success:
            problem(answer, 409, "key_in_flight")
    settled = once.send(api, key)
    assert {(settled.status_code, settled.text)} == done


@pytest.mark.parametrize("path", BY_NATURE)
def test_a_repeated_call_of_a_worker_adds_no_row(api: Api, path: str) -> None:
    request = SAMPLES[path](api)
    first = request.send(api, str(uuid4()))
    assert first.is_success, first.text
    again: list[Response] = []
    assert effect(api, lambda: again.append(request.send(api, str(uuid4())))) == {}
    assert again[0].status_code == 200, again[0].text
    assert _still(again[0], BY_NATURE[path]) == _still(first, BY_NATURE[path])


@pytest.mark.parametrize("verb", ["release", "tell"])
def test_the_end_of_a_lease_that_is_told_again_without_its_key_finds_the_lease_gone(api: Api, verb: str) -> None:
    request = SAMPLES[f"{TRIAL}/{verb}"](api)
    assert api.post(V1 + request.url, request.body).is_success
    before = rows(api, CONTENTS)
    problem(api.post(V1 + request.url, request.body), 409, "lease_lost")
    problem(request.send(api, str(uuid4())), 409, "lease_lost")
    assert rows(api, CONTENTS) == before


def _still(answer: Response, moving: str) -> str:
    """The body without the field that moves on."""
    return re.sub(rf'"{moving}":"[^"]*"', "", answer.text)
