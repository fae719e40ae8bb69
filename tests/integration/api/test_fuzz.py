"""Studies that are nearly right: whatever is changed in one, the answer is a result or a problem, never a crash."""

import copy
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.api.caller import Api, Json, spec

VALID: Json = spec(
    labels={"team": "x"},
    search_space=[
        {"type": "float", "name": "lr", "low": 0.001, "high": 1, "log": True},
        {"type": "int", "name": "units", "low": 1, "high": 9, "step": 2},
        {"type": "categorical", "name": "kind", "choices": ["a", 1, 2.5, True]},
    ],
    scheduler={"type": "asha", "min_resource": 1, "max_resource": 9, "n_full": 2},
    sampler={"type": "tpe", "seed": 3, "n_startup_trials": 5},
    trainer={"name": "external", "config": {"a": [1, {"b": None}]}, "resources": {"gpus": 1}, "timeout_s": 5},
    budget={"max_trials": 5, "max_epochs": 50, "max_wall_s": 10.5},
)
WORDS = [
    "",
    "x",
    "nan",
    "NaN",
    "\0",
    "\ud800",
    "../..",
    "a" * 1000,
    "{x}",
    "%s",
    "type",
    "float",
    "external",
    "synthetic",
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2**31, 2**53 + 1, 2**63, 10**300, -(10**310), 10**400]),
    st.integers(),
    st.floats(),
    st.sampled_from(WORDS),
    st.text(max_size=5),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=6,
)


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [at, *(place for key, item in inner for place in _places(item, (*at, key)))]


PLACES = [place for place in _places(VALID) if place]


@st.composite
def nearly_right(draw: st.DrawFn) -> Json:
    body = copy.deepcopy(VALID)
    for place in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3, unique=True)):
        holder: Any = body
        for key in place[:-1]:
            try:
                holder = holder[key]
            except (KeyError, IndexError, TypeError):  # an earlier change has taken the place away
                break
        else:
            _change(draw, holder, place[-1])
    return body


def _change(draw: st.DrawFn, holder: Any, key: Any) -> None:
    kind = draw(st.sampled_from(["replace", "remove", "add"]))
    if isinstance(holder, dict):
        if kind == "remove":
            holder.pop(key, None)
        else:
            holder[key if kind == "replace" else draw(st.sampled_from(WORDS))] = draw(VALUES)
    elif isinstance(holder, list) and isinstance(key, int) and key < len(holder):
        if kind == "remove":
            del holder[key]
        else:
            holder[key:key] = [draw(VALUES)]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(body=nearly_right())
def test_a_mutated_study_is_stored_or_refused_with_a_problem(api: Api, body: Json) -> None:
    before = api.stored()
    answer = api.call("POST", "/studies", raw=json.dumps(body).encode())
    assert answer.status_code in {201, 400, 409, 413, 422}, answer.text
    if answer.status_code == 201:
        study = answer.json()
        assert api.get(f"/studies/{study['id']}").json() == study
        assert api.get(f"/studies/{study['id']}/rungs").status_code == 200
        api.advance(study)
    else:
        assert answer.headers["content-type"] == "application/problem+json"
        assert api.stored() == before
        for error in answer.json().get("errors", []):
            _holder(body, error["pointer"])


def _holder(body: Any, pointer: str) -> None:
    """The place that a pointer names is in the body, or is the one that is missing from an object there."""
    assert pointer == "" or pointer.startswith("/")
    here = body
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    for index, part in enumerate(parts):
        if isinstance(here, list):
            here = here[int(part)]
        else:
            assert isinstance(here, dict), (pointer, here)
            assert part in here or index == len(parts) - 1, pointer
            here = here.get(part)
