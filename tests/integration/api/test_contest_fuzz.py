"""Contests that are nearly right: stored whole or refused whole, with errors that point into what was sent."""

import copy
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.api.caller import Api, Json
from tests.integration.api.test_contests import contest, contests
from tests.integration.api.test_fuzz import _change, _holder, _places

VALID: Json = contest(
    study={
        "scheduler": {"type": "asha", "min_resource": 1, "max_resource": 9},
        "trainer": {"name": "external", "config": {"a": [1, {"b": None}]}},
        "enqueue": [],
    },
    methods=[
        {"name": "a", "sampler": {"type": "tpe"}, "scheduler": {"type": "fifo", "max_resource": 3},
         "pruners": [{"type": "median"}]},
        {"name": "b", "sampler": {"type": "grid"}, "stagnation": {"trials": 3},
         "search_space": [{"type": "int", "name": "u", "low": 1, "high": 4}], "enqueue": [{"u": 2}]},
    ],
    budget={"max_epochs": 20},
)  # fmt: skip
PLACES = [place for place in _places(VALID) if place]


@st.composite
def nearly_right(draw: st.DrawFn) -> Json:
    """A contest with one place changed, removed or added to."""
    body = copy.deepcopy(VALID)
    *path, last = draw(st.sampled_from(PLACES))
    holder = body
    for key in path:
        holder = holder[key]
    _change(draw, holder, last)
    return body


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(body=nearly_right())
def test_a_mutated_contest_is_stored_whole_or_refused_whole(api: Api, body: Json) -> None:
    # Studies go with their contest, so that no name is taken by the example before.
    api.hand.execute("DELETE FROM contest WHERE project_id = %(p)s", p=api.project)
    answer = api.call("POST", "/contests", raw=json.dumps(body).encode())
    assert answer.status_code in {201, 400, 413, 422}, answer.text
    if answer.status_code == 201:
        made = answer.json()
        assert (contests(api), api.stored()) == (1, len(made["studies"]))
        assert api.get(f"/contests/{made['id']}").json()["studies"] == made["studies"]
        for kind in ("json", "csv", "md"):
            assert api.get(f"/contests/{made['id']}/result?format={kind}").status_code == 200
    else:
        assert answer.headers["content-type"] == "application/problem+json"
        assert (contests(api), api.stored()) == (0, 0)
        for error in answer.json().get("errors", []):
            _holder(body, error["pointer"])
