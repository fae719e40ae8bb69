"""Pointers and messages of wrong fields, and the table of codes."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from api.errors import CODES
from api.schemas.studies import StudyCreate
from hpo.domain import errors
from hpo.domain.errors import LadderError
from hpo.spec.errors import field_errors, pointer


@pytest.mark.parametrize(
    ("loc", "body", "absent", "expected"),
    [
        (("a", 0, "b"), {"a": [{"b": 1}]}, False, "/a/0/b"),
        (("a", 0, "float", "low"), {"a": [{"type": "float", "low": 1}]}, False, "/a/0/low"),
        (("a", 0, "float", "low", "int"), {"a": [{"type": "float", "low": "x"}]}, False, "/a/0/low"),
        (("a", 0, "float", "high"), {"a": [{"type": "float", "low": 1}]}, True, "/a/0/high"),
        (("a", 0, "float", "float"), {"a": [{"type": "float", "float": 1}]}, False, "/a/0/float"),
        (("labels", "a b", "[key]"), {"labels": {"a b": ""}}, False, "/labels/a b"),
        (("x/~", "y"), {"x/~": {"y": 1}}, False, "/x~1~0/y"),
        (("a", "function-after[check(), int]"), {"a": 1}, False, "/a"),
        ((), [], False, ""),
        (("a",), None, True, ""),
    ],
)
def test_a_pointer_names_a_place_of_the_body(loc: tuple[Any, ...], body: Any, absent: bool, expected: str) -> None:
    assert pointer(loc, body, absent=absent) == expected


def test_members_of_a_union_are_one_error_with_what_was_given() -> None:
    body = {"name": "s", "search_space": [{"type": "float", "name": "x", "low": [], "high": 1}]}
    with pytest.raises(ValidationError) as refused:
        StudyCreate.model_validate(body)
    found = field_errors([error | {"loc": ("body", *error["loc"])} for error in refused.value.errors()], body)
    assert {error.pointer: error.message for error in found} == {
        "/objectives": "this field is wanted",
        "/trainer": "this field is wanted",
        "/search_space/0/low": "Input should be a valid integer or a valid number, got an array",
    }


def _tree(kind: type[LadderError]) -> set[type[LadderError]]:
    return {kind, *(found for child in kind.__subclasses__() for found in _tree(child))}


def test_every_error_has_a_status_and_every_status_an_explanation() -> None:
    used = {kind.code for kind in _tree(LadderError) if kind.__module__ == errors.__name__}
    assert used <= set(CODES)
    for code, (status, title, meaning) in CODES.items():
        assert 400 <= status <= 599
        assert title
        assert meaning.endswith(".")
        assert re.fullmatch(r"[a-z_]+", code)
