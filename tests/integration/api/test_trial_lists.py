"""Lists of trials by whatever they can be asked for: params, duration, metrics, state, worker; only some fields."""

from typing import Any

import pytest

from tests.integration.api.caller import Api, Json, problem, refused

SPACE = [
    {"type": "float", "name": "x", "low": 0, "high": 1},
    {"type": "categorical", "name": "kind", "choices": ["ä", "b", "c"]},
    {"type": "int", "name": "deep", "low": 1, "high": 3, "when": {"kind": ["b"]}},
]


@pytest.fixture
def listed(api: Api) -> Api:
    """Six trials: x falls with the number, deep is there in every other one, four were trained by two workers."""
    enqueue = [
        {"x": 1 - number / 10, "kind": "b", "deep": 1 + number // 2}
        if number % 2
        else {"x": 1 - number / 10, "kind": "ä"}
        for number in range(6)
    ]
    api.create(search_space=SPACE, enqueue=enqueue, budget={"max_trials": 6})
    for number in range(6):
        (trial,) = api.ask(worker="last" if number > 3 else "odd" if number % 2 else "even")
        assert trial["number"] == number
        if number > 3:
            continue
        metrics: Json = {"loss": 0.5, "size": 10 * number, "note": "nan" if number == 2 else 1}
        api.report(trial, 3, metrics=metrics)
    api.hand.execute(
        "UPDATE trial SET device_seconds = number + 1 WHERE number < 4 AND study_id = (SELECT id FROM study"
        " WHERE project_id = %(p)s)", p=api.project,
    )  # fmt: skip
    return api


def _numbers(api: Api, query: str, size: int = 100) -> list[int]:
    found: list[int] = []
    token = ""
    while True:
        answer = api.get(f"/studies/s/trials?{query}&page_size={size}{token}")
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += [trial["number"] for trial in page["items"]]
        if page["next_page_token"] is None:
            return found
        token = f"&page_token={page['next_page_token']}"


ORDERS = {
    "params.x": [5, 4, 3, 2, 1, 0],
    "-params.x": [0, 1, 2, 3, 4, 5],
    "params.deep": [1, 3, 5, 0, 2, 4],
    "-params.deep": [5, 3, 1, 0, 2, 4],
    "params.kind": [1, 3, 5, 0, 2, 4],
    "duration": [0, 1, 2, 3, 4, 5],
    "-duration": [3, 2, 1, 0, 4, 5],
}


def test_trials_come_in_the_order_of_a_param_or_their_duration_in_pages_of_any_size(listed: Api) -> None:
    for order, numbers in ORDERS.items():
        for size in (1, 2, 4, 100):
            assert _numbers(listed, f"order_by={order}", size) == numbers, (order, size)


FILTERS = {
    "metrics.size:le:10": [0, 1],
    "metrics.size:gt:10": [2, 3],
    "metrics.note:ge:0": [0, 1, 3],
    "metrics.unknown:ge:0": [],
    "state:eq:complete": [0, 1, 2, 3],
    "state:ne:complete": [4, 5],
    "worker:eq:odd": [1, 3],
    "duration:ge:3": [2, 3],
    "params.kind:eq:b": [1, 3, 5],
    "params.deep:ge:2": [3, 5],
}


def test_trials_are_filtered_by_metrics_state_worker_and_duration(listed: Api) -> None:
    found = {where: _numbers(listed, f"where={where}", 2) for where in FILTERS}
    assert found == FILTERS


def test_only_the_fields_that_are_asked_for_come(listed: Api) -> None:
    page = listed.get("/studies/s/trials?fields=number,value,params&page_size=1").json()
    assert page["items"] == [{"number": 0, "value": 0.5, "params": {"x": 1.0, "kind": "ä"}}]
    assert page["next_page_token"] is not None


REFUSED = {
    "order_by": ["nothing", "params.nothing", "--number"],
    "fields": ["number,nothing", ""],
    "where": ["state:eq:asleep", "state:lt:running", "worker:gt:a", "metrics.:eq:1", "duration:ge:long"],
}


def test_what_cannot_be_asked_for_is_refused_by_name(listed: Api) -> None:
    for parameter, texts in REFUSED.items():
        for text in texts:
            refused(listed.get(f"/studies/s/trials?{parameter}={text}"), f"/query/{parameter}", "bad_filter")


def test_a_token_is_for_its_own_order(listed: Api) -> None:
    token: Any = listed.get("/studies/s/trials?order_by=params.x&page_size=1").json()["next_page_token"]
    problem(listed.get(f"/studies/s/trials?order_by=duration&page_size=1&page_token={token}"), 400, "malformed")
