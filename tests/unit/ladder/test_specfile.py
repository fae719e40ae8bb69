"""Specs in YAML: the core schema of YAML 1.2, lines of errors, overrides."""

import math
from typing import Any

import pytest

from hpo.domain.errors import FieldError
from ladder.errors import LocalError
from ladder.specfile import override, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1.0E3", 1000.0),
        (".5", 0.5),
        ("7", 7),
        ("010", 10),
        ("-3", -3),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("null", None),
        ("12:30", "12:30"),
        ("2026-01-02", "2026-01-02"),
        ("1_000", "1_000"),
        (".inf", math.inf),
        ("'1e-4'", "1e-4"),
    ],
)
def test_scalars_are_read_by_the_rules_of_yaml_1_2(text: str, value: object) -> None:
    read = parse(f"x: {text}", "f").data["x"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", "f.yaml:3: not valid YAML"),
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3: not valid YAML: 'a' stands here twice"),
        ("a: *nowhere\n", "f.yaml:1: not valid YAML"),
        ("a: !!python/object:os.system {}\n", "f.yaml:1: not valid YAML"),
        ("- 1\n- 2\n", "f.yaml:1: want a mapping"),
        ("", "f.yaml:1: want a mapping"),
        ("a: \x00\n", "f.yaml: not valid YAML"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: str, where: str) -> None:
    with pytest.raises(LocalError) as caught:
        parse(text, "f.yaml")
    assert caught.value.message.startswith(where)
    assert "\n" not in caught.value.message


def test_a_pointer_leads_to_the_line_of_its_field() -> None:
    spec = parse("name: x\nsearch_space:\n  - {name: lr, type: float}\n  - name: b\n    low: 3\n", "f.yaml")

    def where(pointer: str) -> str:
        return spec.located(FieldError(pointer, "c", "m")).pointer

    assert where("/search_space/1/low") == "f.yaml:5: /search_space/1/low"
    assert where("/search_space/0/high") == "f.yaml:3: /search_space/0/high"  # missing: the line of what lacks it
    assert where("/nowhere") == "f.yaml:1: /nowhere"


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("scheduler.max_resource=9", {"scheduler": {"max_resource": 9}, "space": [{"low": 1}]}),
        ("space.0.low=1e-4", {"scheduler": {"max_resource": 27}, "space": [{"low": 1e-4}]}),
        (
            "labels.team=vision",
            {"scheduler": {"max_resource": 27}, "space": [{"low": 1}], "labels": {"team": "vision"}},
        ),
        ("space=[]", {"scheduler": {"max_resource": 27}, "space": []}),
        ("name=a=b", {"scheduler": {"max_resource": 27}, "space": [{"low": 1}], "name": "a=b"}),
    ],
)
def test_set_overrides_one_field(assignment: str, expected: dict[str, Any]) -> None:
    data: dict[str, Any] = {"scheduler": {"max_resource": 27}, "space": [{"low": 1}]}
    override(data, assignment)
    assert data == expected


@pytest.mark.parametrize("assignment", ["name", "=1", "a..b=1", "space.7.low=1", "scheduler.max_resource.x=1", "a=[1"])
def test_an_override_that_leads_nowhere_is_refused(assignment: str) -> None:
    with pytest.raises(LocalError, match="--set"):
        override({"scheduler": {"max_resource": 27}, "space": [{"low": 1}]}, assignment)
