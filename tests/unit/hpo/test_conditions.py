from typing import Any

import pytest
from pydantic import ValidationError

from hpo.domain.history import Params
from hpo.space.space import Space, broken_rule, canonical, fill_defaults, is_active, problems, without_inactive
from tests.unit.hpo.builders import a_study


def choice(name: str, *choices: Any, **more: Any) -> dict[str, Any]:
    return {"type": "categorical", "name": name, "choices": choices, **more}


def floats(name: str, low: float = 0, high: float = 1, **more: Any) -> dict[str, Any]:
    return {"type": "float", "name": name, "low": low, "high": high, **more}


def ints(name: str, low: int, high: int, **more: Any) -> dict[str, Any]:
    return {"type": "int", "name": name, "low": low, "high": high, **more}


def space(*params: dict[str, Any], **fields: Any) -> Space:
    return Space.of(a_study(search_space=params, **fields))


# The child stands before its parent, and the parent has a condition itself.
NESTED = (
    floats("nesterov_gain", when={"nesterov": True}),
    choice("nesterov", True, False, when={"optimizer": "sgd"}),
    choice("optimizer", "sgd", "adam"),
    floats("beta2", 0.9, 0.999, when={"optimizer": ["adam"]}),
)


def test_parents_come_first_and_the_order_is_kept_otherwise() -> None:
    assert [param.name for param in space(*NESTED)] == ["optimizer", "nesterov", "nesterov_gain", "beta2"]


def test_a_single_value_is_kept_as_a_list_of_one() -> None:
    spec = a_study(search_space=NESTED)
    assert spec.search_space[0].when == {"nesterov": (True,)}
    assert spec.model_dump(mode="json")["search_space"][0]["when"] == {"nesterov": [True]}


@pytest.mark.parametrize(
    ("params", "active"),
    [
        ({"optimizer": "sgd", "nesterov": True}, {"optimizer", "nesterov", "nesterov_gain"}),
        ({"optimizer": "sgd", "nesterov": False}, {"optimizer", "nesterov"}),
        ({"optimizer": "adam", "nesterov": True}, {"optimizer", "beta2"}),
    ],
)
def test_a_parameter_is_inactive_with_its_parent(params: Params, active: set[str]) -> None:
    nested = space(*NESTED)
    full = {"nesterov_gain": 0.5, "beta2": 0.9, **params}
    kept = without_inactive(nested, full)
    assert kept.keys() == active
    assert {param.name for param in nested if is_active(param, kept)} == active


def test_several_conditions_must_all_hold() -> None:
    both = space(ints("a", 1, 3), choice("b", "x", "y"), floats("c", when={"a": [1, 2], "b": "x"}))
    for a, b, active in ((1, "x", True), (2, "x", True), (3, "x", False), (1, "y", False)):
        assert is_active(both.by_name["c"], {"a": a, "b": b}) is active


def test_a_condition_tells_choices_of_equal_value_apart() -> None:
    mixed = space(choice("c", 1, 1.0, True), floats("x", when={"c": 1}))
    assert [is_active(mixed.by_name["x"], {"c": value}) for value in (1, 1.0, True)] == [True, False, False]


def test_a_condition_holds_for_a_number_that_a_store_has_rewritten() -> None:
    rewritten = space(choice("c", 1e16, 0.5), floats("x", when={"c": 10**16}))
    assert is_active(rewritten.by_name["x"], {"c": 1e16})
    assert is_active(rewritten.by_name["x"], {"c": 10**16})
    assert not is_active(rewritten.by_name["x"], {"c": 0.5})


def test_a_fixed_parent_switches_its_children() -> None:
    fixed = space({"type": "fixed", "name": "f", "value": 0.1}, floats("x", when={"f": 0.1}))
    assert problems(fixed, {"f": 0.1, "x": 0.5}) == []


@pytest.mark.parametrize(
    ("when", "field", "code"),
    [
        ({"mom": 1}, "1/when/mom", "unknown_parent"),
        ({"x": 1}, "1/when/x", "own_parent"),
        ({"lr": 0.5}, "1/when/lr", "continuous_parent"),
        ({"o": ["a", "z"]}, "1/when/o", "value_not_in_space"),
        ({"k": 2.5}, "1/when/k", "value_not_in_space"),
        ({"k": 11}, "1/when/k", "value_not_in_space"),
        ({"f": 4}, "1/when/f", "value_not_in_space"),
    ],
)
def test_a_condition_that_cannot_be_met_is_refused_by_name(when: dict[str, Any], field: str, code: str) -> None:
    others = (choice("o", "a", "b"), ints("k", 0, 10), {"type": "fixed", "name": "f", "value": 3}, floats("lr"))
    with pytest.raises(ValidationError) as caught:
        space(others[0], floats("x", when=when), *others[1:])
    (error,) = caught.value.errors()
    assert (error["loc"], error["ctx"]["field"], error["type"]) == (("search_space",), field, code)


def test_a_circle_of_conditions_is_refused_with_its_members() -> None:
    with pytest.raises(ValidationError) as caught:
        space(choice("a", 1, when={"c": 1}), choice("b", 1, when={"a": 1}), choice("c", 1, when={"b": 1}))
    (error,) = caught.value.errors()
    assert (error["type"], error["ctx"]["field"]) == ("circular_condition", "0/when")
    assert "'a' -> 'c' -> 'b' -> 'a'" in error["msg"]


@pytest.mark.parametrize(
    "param",
    [
        floats("x", 0, 1, default=2),
        floats("x", 0, 1, default="high"),
        ints("x", 0, 10, default=0.5),
        ints("x", 0, 10, step=5, default=4),
        choice("x", "a", "b", default="c"),
    ],
)
def test_a_default_outside_the_range_is_refused(param: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        space(param)
    error = caught.value.errors()[0]
    assert (error["type"], error["ctx"]["field"]) == ("default_not_in_range", "default")


def test_an_old_trial_counts_as_having_the_defaults() -> None:
    edited = space(
        choice("optimizer", "sgd", "adam"),
        floats("momentum", 0, 1, when={"optimizer": "sgd"}, default=0),
        floats("beta", 0, 1, when={"optimizer": "adam"}, default=0.9),
        ints("k", 1, 3),
        {"type": "fixed", "name": "width", "value": 64},
    )
    filled = fill_defaults(edited, {"optimizer": "sgd", "dropout": 0.1, "beta": 0.5})
    assert filled == {"optimizer": "sgd", "momentum": 0.0, "width": 64}
    assert isinstance(filled["momentum"], float)
    assert fill_defaults(edited, {"optimizer": "adam", "k": 2, "width": 32}) == {
        "optimizer": "adam", "beta": 0.9, "k": 2, "width": 32,
    }  # fmt: skip


def test_problems_tell_inactive_missing_and_doubtful_apart() -> None:
    nested = space(*NESTED)

    def found(params: Params) -> list[tuple[str, str]]:
        return [(error.pointer, error.code) for error in problems(nested, params)]

    assert found({"optimizer": "adam", "beta2": 0.99, "nesterov": True}) == [("/nesterov", "inactive_parameter")]
    assert found({"optimizer": "sgd"}) == [("/nesterov", "missing_parameter")]
    assert found({"optimizer": "lion", "beta2": 7.0}) == [
        ("/optimizer", "value_not_in_space"),
        ("/beta2", "value_not_in_space"),
    ]
    assert found({"optimizer": "sgd", "nesterov": False, "a/b~": 1}) == [("/a~1b~0", "unknown_parameter")]


def test_a_forbidden_combination_is_one_of_all_its_entries() -> None:
    ruled = space(
        choice("optimizer", "sgd", "adam"),
        floats("dropout", 0, 0.4, step=0.1),
        ints("k", 1, 3, when={"optimizer": "sgd"}),
        forbidden=[{"optimizer": "adam", "dropout": [0.3, 0.4]}, {"k": 2}],
    )
    assert broken_rule(ruled, {"optimizer": "adam", "dropout": 0.1 + 0.2}) == (
        "forbidden: optimizer = 'adam', dropout = 0.3 or 0.4"
    )
    assert broken_rule(ruled, {"optimizer": "sgd", "dropout": 0.3, "k": 1}) is None
    assert broken_rule(ruled, {"optimizer": "adam", "dropout": 0.2}) is None  # k is inactive
    (error,) = problems(ruled, {"optimizer": "sgd", "dropout": 0.3, "k": 2})
    assert (error.pointer, error.code) == ("", "broken_rule")
    assert "forbidden: k = 2" in error.message


def test_the_same_configuration_is_recognised_however_it_is_written() -> None:
    some = space(floats("x", 0, 1), floats("s", 0, 1, step=0.1), choice("c", 1, 1.0, True), choice("d", 1e16))
    one = {"x": 1, "s": 0.1 + 0.2, "c": 1, "d": 10**16}
    assert canonical(some, one) == canonical(some, {"d": 1e16, "c": 1, "s": 0.3, "x": 1.0})
    assert len({canonical(some, one | {"c": value}) for value in (1, 1.0, True)}) == 3
