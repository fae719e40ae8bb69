"""Every list of the document pages through 10,000 rows without a gap or a double while rows come in between pages.

A list that is new in ``openapi.json`` fails here until ``LISTS`` knows how to fill it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

import pytest

from tests.contract.api_document import Operation, operations, resolve
from tests.integration.api.caller import V1, Api, problem
from tests.integration.api.test_contests import contest

ROWS = 10_000
PAGE = 1_000


def _is_list(operation: Operation) -> bool:
    if operation.method != "GET" or 200 not in operation.statuses:
        return False
    schema = operation.answer(200)
    return any("next_page_token" in resolve(one).get("properties", {}) for one in schema.get("anyOf", [schema]))


LISTED = {one.path: one for one in operations() if _is_list(one)}
WITH_TOKEN = [path for path, one in LISTED.items() if "page_token" in one.parameters("query")]


@dataclass(frozen=True)
class Listing:
    """``add`` is SQL that puts rows ``low`` to ``high`` in; keys of rows that follow one another lie far apart.

    ``key``: the field that tells rows apart. ``size``: the parameter of the page's.
    """

    url: str
    add: str
    key: str
    orders: tuple[str, ...] = ()
    size: str = "page_size"
    base: Mapping[str, str] = field(default_factory=dict)
    # Rows that are costly to tell: in all orders but the first only those that pass this filter, a tenth of them.
    tenth: Mapping[str, str] = field(default_factory=dict)
    # For each parameter that filters another value than none, to try a token with.
    filters: Mapping[str, str] = field(default_factory=dict)


# A key that jumps about, with some rows alike: 7919 and 10,007 are primes.
SHUFFLED = "(i * 7919 %% 10007)"
STUDIES = f"""
    INSERT INTO study (id, project_id, name, state, spec, queue, max_trials, max_running, max_failed,
                       created_at, updated_at)
    SELECT gen_random_uuid(), s.project_id, 'bulk-' || {SHUFFLED} || '-' || i,
           CASE WHEN i %% 10 > 0 THEN 'finished' ELSE 'failed' END, s.spec, s.queue, s.max_trials, s.max_running,
           s.max_failed, timestamptz '2026-01-01' + {SHUFFLED} / 3 * interval '1 s',
           timestamptz '2026-02-01' - {SHUFFLED} / 3 * interval '1 s'
    FROM study s, generate_series(%(low)s, %(high)s) i WHERE s.project_id = %(project)s AND s.name = 's'"""
TRIALS = f"""
    INSERT INTO trial (project_id, study_id, number, state, params, cursor, loss, target_step, device_seconds)
    SELECT s.project_id, s.id, i, 'complete',
           CASE WHEN i %% 5 > 0 THEN jsonb_build_object('x', {SHUFFLED} / 3) ELSE '{{}}' END, 0,
           CASE WHEN i %% 7 > 0 THEN {SHUFFLED} / 3 / 7.0 END, 3, {SHUFFLED} / 100
    FROM study s, generate_series(%(low)s, %(high)s) i WHERE s.project_id = %(project)s AND s.name = 's'"""
TRIAL = "(SELECT t.id FROM trial t WHERE t.project_id = %(project)s AND t.number = 0)"
METRICS = f"""
    INSERT INTO report (trial_id, step, lease_id, attempt, metrics)
    SELECT {TRIAL}, i, gen_random_uuid(), 1, '{{"loss": 0.5}}' FROM generate_series(%(low)s, %(high)s) i"""
LINES = f"""
    INSERT INTO log_line (trial_id, attempt, position, stream, text)
    SELECT {TRIAL}, 1, i, 'out', 'line ' || i FROM generate_series(%(low)s, %(high)s) i"""
CONTESTS = f"""
    INSERT INTO contest (id, project_id, name, spec, created_at)
    SELECT gen_random_uuid(), c.project_id, 'bulk-' || i, c.spec,
           timestamptz '2026-01-01' + {SHUFFLED} / 3 * interval '1 s'
    FROM contest c, generate_series(%(low)s, %(high)s) i WHERE c.project_id = %(project)s AND c.name = 'c'"""
WORKERS = f"""
    INSERT INTO worker (project_id, name, queue, host, device, pid, versions)
    SELECT %(project)s, 'w' || {SHUFFLED} || '-' || i, 'cpu', 'h', 'cpu', i, '{{}}'
    FROM generate_series(%(low)s, %(high)s) i"""

STUDY, TRIAL_PATH = f"{V1}/studies/{{study}}", f"{V1}/studies/{{study}}/trials/{{number}}"
LISTS: Mapping[str, Listing] = {
    f"{V1}/studies": Listing(
        f"{V1}/studies", STUDIES, "id",
        tenth={"state": "failed"},
        filters={"state": "running", "label": "a:b", "name": "a", "confirmations": "true", "archived": "true"},
    ),
    f"{STUDY}/trials": Listing(
        f"{V1}/studies/s/trials", TRIALS, "number",
        orders=tuple(sign + by for by in ("number", "value", "duration", "params.x") for sign in ("", "-")),
        filters={"state": "failed", "rung": "1", "where": "value:lt:0"},
    ),
    f"{TRIAL_PATH}/metrics": Listing(
        f"{V1}/studies/s/trials/0/metrics", METRICS, "step", filters={"name": "acc", "after_step": "7"}
    ),
    f"{TRIAL_PATH}/logs": Listing(
        f"{V1}/studies/s/trials/0/logs", LINES, "position", size="tail", base={"after": "0"},
        filters={"attempt": "1"},
    ),
    f"{V1}/contests": Listing(f"{V1}/contests", CONTESTS, "id"),
    f"{V1}/workers": Listing(f"{V1}/workers", WORKERS, "name"),
}  # fmt: skip


def orders(path: str) -> tuple[str, ...]:
    """Those of the document, or some where it gives a rule for them; none where there is but one."""
    said = LISTED[path].parameters("query").get("order_by")
    return () if said is None else tuple(said["schema"].get("enum", ())) or LISTS[path].orders


@pytest.fixture
def filled(api: Api) -> Api:
    """A study with an attempt of a trial, and a contest, for the rows to belong to."""
    api.create(budget={"max_trials": 100_000})
    api.ask()
    assert api.post("/contests", contest()).status_code == 201
    return api


def pages(api: Api, listing: Listing, query: Mapping[str, str], between: Callable[[], None]) -> list[str]:
    """The keys of all rows, in order; ``between`` is called after each of ten pages or more."""
    found: list[str] = []
    size = PAGE // 10 if query.keys() & listing.tenth.keys() else PAGE
    asked = {listing.size: str(size), **listing.base, **query}
    while True:
        answer = api.get(listing.url, params=asked)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert len(body["items"]) <= size
        found += [str(item[listing.key]) for item in body["items"]]
        if body["next_page_token"] is None:
            return found
        asked["page_token"] = body["next_page_token"]
        between()


def test_every_list_can_be_filled_and_every_order_is_tried() -> None:
    assert set(LISTS) == set(LISTED)
    for path, operation in LISTED.items():
        if "order_by" in operation.parameters("query"):
            assert orders(path), "say which orders there are"


@pytest.mark.parametrize("path", LISTS)
def test_ten_thousand_rows_are_told_once_each_while_others_come_in(filled: Api, path: str) -> None:
    listing = LISTS[path]
    statement = f"{listing.add} RETURNING {listing.key}::text"

    def add(low: int, rows: int) -> set[str]:
        given = {"project": filled.project, "low": low, "high": low + rows - 1}
        return set(filled.hand.db.write(lambda tx: tx.exec_driver_sql(statement, given).scalars().all()))

    there, fresh = add(100, ROWS), count(20_000, 20)
    for order in orders(path) or ("",):
        query = {"order_by": order} if order else {}
        some = listing.tenth if order in orders(path)[1:] else {}
        found = pages(filled, listing, query | some, lambda: add(next(fresh), 20))
        assert len(found) == len(set(found)), f"a row was told twice by {order}"
        assert len(there & set(found)) == (ROWS // 10 if some else ROWS), f"a row was left out by {order}"


@pytest.mark.parametrize("path", WITH_TOKEN)
def test_a_token_is_good_for_the_list_that_gave_it_alone(filled: Api, path: str) -> None:
    listing = LISTS[path]
    filled.hand.execute(listing.add, project=filled.project, low=100, high=105)
    asked = {listing.size: "2", **listing.base}
    token = filled.get(listing.url, params=asked).json()["next_page_token"]
    assert token is not None
    assert filled.get(listing.url, params=asked | {"page_token": token}).status_code == 200
    parameter = LISTED[path].parameters("query").get("order_by")
    kinds = [order for order in orders(path) if parameter and order != parameter["schema"]["default"]]
    others: list[dict[str, str]] = [{"order_by": order} for order in kinds]
    others += [{name: value} for name, value in listing.filters.items()]
    for other in others:
        problem(filled.get(listing.url, params=asked | {"page_token": token} | other), 400, "malformed")
    for wrong in ("x", token[:-2], token[::-1], "AAAA", "W10", "bnVsbA"):
        problem(filled.get(listing.url, params=asked | {"page_token": wrong}), 400, "malformed")


def _filtering(operation: Operation) -> set[str]:
    return set(operation.parameters("query")) - {"page_token", "page_size", "order_by", "fields", "tail", "after"}


@pytest.mark.parametrize("path", WITH_TOKEN)
def test_every_filter_of_a_list_is_tried_with_a_token_of_another(path: str) -> None:
    assert set(LISTS[path].filters) == _filtering(LISTED[path])
