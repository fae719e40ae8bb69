"""A repeated request with its Idempotency-Key does nothing again and gets the first answer."""

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from hpo.storage import idempotency
from tests.integration.api.caller import Api, problem, refused, spec


def _key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4())}


def test_the_same_request_with_the_same_key_is_answered_alike_and_done_once(api: Api) -> None:
    headers = _key()
    first = api.post("/studies", spec(), headers=headers)
    again = api.post("/studies", spec(), headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.text == first.text
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["etag"] == first.headers["etag"]
    assert api.stored() == 1


def test_a_key_that_comes_with_another_request_is_refused(api: Api) -> None:
    headers = _key()
    assert api.post("/studies", spec(), headers=headers).status_code == 201
    problem(api.post("/studies", spec("t"), headers=headers), 422, "idempotency_key_reused")
    problem(api.post("/studies/s/pause", headers=headers), 422, "idempotency_key_reused")
    assert api.get("/studies/s").json()["state"] == "running"
    assert api.stored() == 1


def test_a_refused_request_leaves_its_key_free(api: Api) -> None:
    headers = _key()
    refused(api.post("/studies", spec("a b"), headers=headers), "/name")
    assert api.post("/studies", spec(), headers=headers).status_code == 201


def test_a_key_belongs_to_its_caller(api: Api, other: Api) -> None:
    headers = _key()
    assert api.post("/studies", spec(), headers=headers).status_code == 201
    assert other.post("/studies", spec("t"), headers=headers).status_code == 201
    assert api.post("/studies", spec("u"), headers=headers, scope="write").status_code == 201


def test_a_repeated_verb_gets_its_first_answer_though_the_study_has_moved_on(api: Api) -> None:
    api.create(advance=False)
    headers = _key()
    first = api.post("/studies/s/pause", headers=headers)
    api.post("/studies/s/resume")
    again = api.post("/studies/s/pause", headers=headers)
    assert again.text == first.text
    assert api.get("/studies/s").json()["state"] == "running"


def test_a_request_whose_twin_is_being_answered_is_told_to_wait(api: Api) -> None:
    headers = _key()
    db = api.hand.db
    key_id = api.tokens["admin"].split("_")[1]
    with db.engine.begin() as tx:  # the twin: it holds the key and has not committed
        assert idempotency.find(tx, key_id, headers["Idempotency-Key"], b"x" * 32) is None
        problem(api.post("/studies", spec(), headers=headers), 409, "key_in_flight")
    assert api.post("/studies", spec(), headers=headers).status_code == 201


def test_of_many_at_once_one_creates_and_the_others_hear_of_it_or_wait(api: Api) -> None:
    headers, together = _key(), threading.Barrier(6)

    def send(_: int) -> tuple[int, str]:
        together.wait(10)
        answer = api.post("/studies", spec(), headers=headers)
        return answer.status_code, answer.text if answer.status_code == 201 else answer.json()["code"]

    with ThreadPoolExecutor(6) as pool:
        answers = set(pool.map(send, range(6)))
    assert len({text for status, text in answers if status == 201}) == 1
    assert {text for status, text in answers if status != 201} <= {"key_in_flight"}
    assert api.stored() == 1


@pytest.mark.parametrize("key", ["", "a" * 201, "a b"])
def test_a_key_that_is_no_key_is_refused(api: Api, key: str) -> None:
    refused(api.post("/studies", spec(), headers={"Idempotency-Key": key}), "/header/idempotency-key")
