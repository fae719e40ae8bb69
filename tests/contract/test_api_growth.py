"""v1 only grows: what a client was written against stays there."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.openapi_diff import BASELINE, COMMITTED, Diff, load

Change = Callable[[dict[str, Any]], object]
STUDIES, STUDY = "/api/v1/studies", "/api/v1/studies/{study}"


def _schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"][name]
    return found


def test_nothing_that_v1_had_is_lost() -> None:
    lost = Diff(load(BASELINE), load(COMMITTED)).lost()
    assert lost == [], "v1 only grows: keep it, or serve what is new as /api/v2 beside it"


def test_the_same_document_has_lost_nothing() -> None:
    assert Diff(load(COMMITTED), load(COMMITTED)).lost() == []


BREAKS: dict[str, tuple[Change, str]] = {
    "a path": (lambda d: d["paths"].pop(STUDY), f"GET {STUDY}: gone"),
    "a method": (lambda d: d["paths"][STUDY].pop("patch"), f"PATCH {STUDY}: gone"),
    "an answered field": (lambda d: _schema(d, "StudyRead")["properties"].pop("revision"), ".revision: gone"),
    "a sent field": (lambda d: _schema(d, "StudyCreate")["properties"].pop("labels"), ".labels: gone"),
    "a nested field": (lambda d: _schema(d, "Counts")["properties"].pop("queued"), ".counts.queued: gone"),
    "a value": (lambda d: _schema(d, "TrialState")["enum"].remove("paused"), "value 'paused': gone"),
    "a parameter": (
        lambda d: d["paths"][STUDIES]["get"]["parameters"].remove(
            next(one for one in d["paths"][STUDIES]["get"]["parameters"] if one["name"] == "label")
        ),
        "query label: gone",
    ),
    "an answer": (lambda d: d["paths"][STUDIES]["post"]["responses"].pop("201"), ": 201: gone"),
    "a type": (
        lambda d: _schema(d, "StudyRead")["properties"].update(revision={"type": "string"}),
        ".revision: was integer, is string",
    ),
    "an alternative": (
        lambda d: d["components"]["schemas"]["AshaSpec"]["properties"].pop("n_full"),
        ".scheduler.n_full: gone",
    ),
}


@pytest.mark.parametrize("kind", BREAKS)
def test_losing_it_is_noticed(kind: str) -> None:
    old, new = load(COMMITTED), load(COMMITTED)
    change, told = BREAKS[kind]
    change(new)
    lost = Diff(old, new).lost()
    assert any(told in one for one in lost), lost


def test_demanding_what_was_free_to_leave_out_is_noticed() -> None:
    old, new = load(COMMITTED), load(COMMITTED)
    required = _schema(new, "StudyCreate")["required"]
    required.append("labels")
    assert any(".labels: demanded" in one for one in Diff(old, new).lost())


def test_growing_is_free() -> None:
    old = load(COMMITTED)
    new = copy.deepcopy(old)
    new["paths"]["/api/v1/new"] = {"get": {"responses": {"200": {"description": "new"}}}}
    _schema(new, "StudyRead")["properties"]["new"] = {"type": "string"}
    _schema(new, "StudyCreate")["properties"]["new"] = {"type": "string", "default": ""}
    _schema(new, "TrialState")["enum"].append("new")
    assert Diff(old, new).lost() == []
