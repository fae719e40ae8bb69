from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from hpo.spec.rules import LinearRule, parse_rule
from tests.unit.hpo.builders import a_study

SPACE = [
    {"type": "float", "name": "x", "low": 0, "high": 1},
    {"type": "int", "name": "k", "low": 0, "high": 9},
    {"type": "categorical", "name": "optimizer", "choices": ["sgd", "adam"]},
    {"type": "fixed", "name": "word", "value": "w"},
]


def refused(**fields: Any) -> list[tuple[str, str, str]]:
    """Place, code and message of every error."""
    with pytest.raises(ValidationError) as caught:
        a_study(search_space=fields.pop("search_space", SPACE), **fields)
    return [
        ("/".join(map(str, [*error["loc"], *([error["ctx"]["field"]] if "field" in error["ctx"] else [])])),
         error["type"], error["msg"])
        for error in caught.value.errors()
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "coefficients", "bound", "strict"),
    [
        ("a < b", {"a": 1, "b": -1}, 0, True),
        ("a >= b", {"b": 1, "a": -1}, 0, False),
        ("x1 + x2 <= 1", {"x1": 1, "x2": 1}, 1, False),
        ("2*x - 0.5*y >= 3", {"x": -2, "y": 0.5}, -3, False),
        ("-(a - 2*b)/4 + 1 < 3*(a + 1)", {"a": -3.25, "b": 0.5}, 2, True),
        ("optim.lr < lambda", {"optim.lr": 1, "lambda": -1}, 0, True),
        ("1e-3 <= x", {"x": -1}, -0.001, False),
    ],
)
def test_a_linear_comparison_is_read(text: str, coefficients: dict[str, float], bound: float, strict: bool) -> None:
    (rule,) = parse_rule(text)
    assert (dict(rule.coefficients), rule.bound, rule.strict, rule.text) == (coefficients, bound, strict, text)


def test_a_chained_comparison_is_one_rule_for_each_pair() -> None:
    first, second = parse_rule("a < b <= 2*c")
    assert (dict(first.coefficients), first.strict) == ({"a": 1, "b": -1}, True)
    assert (dict(second.coefficients), second.strict) == ({"b": 1, "c": -2}, False)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a", "a comparison"),
        ("", "a comparison"),
        ("a == b", "got '== b'"),
        ("a < b != c", "got '!= c'"),
        ("a * b < 1", "numbers only"),
        ("a ** 2 < 1", "a comparison"),
        ("1 / a < 1", "numbers only"),
        ("a / 0 < 1", "division by zero"),
        ("a and b < 1", "a comparison"),
        ("__import__('os') < 1", "got \"'os') < 1\""),
        ("f(a) < 1", "sums of parameters"),
        ("(a < b) < c", "sums of parameters"),
        ("1 < 2", "at least one parameter"),
        ("a - a < 1", "at least one parameter"),
        ("2a < 1", "a comparison"),
        ("a < 1e999", "a float can hold"),
        ("1e308*a*10 < 1", "a float can hold"),
        ("(" * 240 + "a" + ")" * 240 + " < 1", "a comparison"),
        ("-" * 490 + "a < 1", "within each other"),
        ("a < " + "1" * 500, "500 characters, got 504"),
    ],
)
def test_what_is_no_linear_comparison_is_refused_with_what_is_wanted(text: str, wanted: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        parse_rule(text)
    assert wanted in caught.value.message()


def test_the_longest_sum_is_read() -> None:
    (rule,) = parse_rule("a+" * 248 + "a<9")
    assert rule.coefficients == (("a", 249.0),)


def test_rounding_counts_as_equal() -> None:
    (loose,), (strict,) = parse_rule("a + b + c <= 1"), parse_rule("a + b + c < 1")
    params = {"a": 0.1, "b": 0.2, "c": 0.7 + 1e-15}
    assert sum(params.values()) > 1
    assert loose.holds(params)
    assert not strict.holds(params | {"c": 0.7 - 1e-15})
    assert strict.holds(params | {"c": 0.7 - 1e-6})


def test_whole_numbers_are_compared_exactly() -> None:
    (rule,) = parse_rule("a < b")
    assert rule.holds({"a": 2**53 - 1, "b": 2**53})
    assert not rule.holds({"a": 2**53, "b": 2**53})


def test_a_rule_about_an_inactive_parameter_does_not_apply() -> None:
    rule = LinearRule((("a", 1.0), ("b", 1.0)), -1.0, strict=False, text="a + b <= -1")
    assert rule.holds({"a": 5})
    assert not rule.holds({"a": 5, "b": 0})


@pytest.mark.parametrize(
    ("rules", "place", "code", "said"),
    [
        (["x < 1", "x <"], "space_constraints/1", "not_a_linear_rule", "'x <'"),
        (["x < 1", "x < y"], "space_constraints/1", "unknown_parameter", "'x < y' names 'y'"),
        (["x < optimizer"], "space_constraints/0", "not_a_number", "'optimizer', which is categorical"),
        (["k < word"], "space_constraints/0", "not_a_number", "'word', which is fixed"),
        (["x < 1"] * 101, "space_constraints", "too_long", "at most 100"),
    ],
)
def test_a_rule_that_does_not_fit_the_space_is_named(rules: list[str], place: str, code: str, said: str) -> None:
    ((at, kind, message),) = refused(space_constraints=rules)
    assert (at, kind) == (place, code)
    assert said in message


@pytest.mark.parametrize(
    ("clause", "place", "code"),
    [
        ({"momentum": 1}, "forbidden/1/momentum", "unknown_parameter"),
        ({"optimizer": ["sgd", "nadam"]}, "forbidden/1/optimizer", "value_not_in_space"),
        ({"x": 2}, "forbidden/1/x", "value_not_in_space"),
        ({}, "forbidden/1", "too_short"),
    ],
)
def test_a_forbidden_combination_that_does_not_fit_the_space_is_named(
    clause: dict[str, Any], place: str, code: str
) -> None:
    ((at, kind, _),) = refused(forbidden=[{"optimizer": "sgd", "k": 1}, clause])
    assert (at, kind) == (place, code)


def test_forbidden_values_are_counted() -> None:
    clauses = [{"k": list(range(10))}] * 1000 + [{"k": 1}]
    assert [(at, code) for at, code, _ in refused(forbidden=clauses[:1000] + clauses[1000:])] == [
        ("forbidden", "too_long")
    ]
    wide = [{"type": "int", "name": "k", "low": 0, "high": 999}]
    clauses = [{"k": list(range(1000))}] * 11
    assert [(at, code) for at, code, _ in refused(search_space=wide, forbidden=clauses)] == [
        ("forbidden", "too_many_values")
    ]
