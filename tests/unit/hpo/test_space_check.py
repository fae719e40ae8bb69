"""Is a space refused if and only if nothing is in it, and can the thinnest one be sampled?"""

from typing import Any

import numpy as np
import pytest

from hpo.space.check import space_errors
from hpo.space.repair import EmptySpace
from hpo.space.space import Space, canonical, problems, sample
from hpo.spec.check import check
from hpo.spec.grid import GridTooLarge
from tests.unit.hpo.builders import a_study
from tests.unit.hpo.test_conditions import choice, floats, ints


def found(*params: dict[str, Any], **fields: Any) -> list[tuple[str, str]]:
    return [(error.pointer, error.code) for error in space_errors(a_study(search_space=params, **fields))]


A, B = floats("a"), floats("b")
K, N = ints("k", 0, 10), ints("n", 0, 10)


@pytest.mark.parametrize(
    ("params", "fields", "at"),
    [
        ((A, B), {"space_constraints": ["a > 5"]}, "/space_constraints/0"),
        ((A, B), {"space_constraints": ["a < b", "a + b <= 2", "b < a"]}, "/space_constraints/2"),
        ((A, B), {"space_constraints": ["a + b >= 1.5", "a <= 0.25"]}, "/space_constraints/1"),
        ((K, N), {"space_constraints": ["1 <= 2*k - 2*n <= 1"]}, "/space_constraints/0"),
        ((K, N), {"space_constraints": ["k < n < k + 1"]}, "/space_constraints/0"),
        ((choice("c", "x", "y"),), {"forbidden": [{"c": "x"}, {"c": "y"}]}, "/search_space"),
        ((choice("c", "x", "y"), A), {"forbidden": [{"c": ["x", "y"]}]}, "/search_space"),
        (
            (choice("c", "x", "y"), floats("m", when={"c": "x"})),
            {"forbidden": [{"c": "y"}], "space_constraints": ["m > 1"]},
            "/search_space",
        ),
        (({"type": "fixed", "name": "f", "value": 2}, A), {"space_constraints": ["f < a"]}, "/space_constraints/0"),
    ],
)
def test_a_space_without_a_point_is_refused_at_the_rule_that_empties_it(
    params: tuple[dict[str, Any], ...], fields: dict[str, Any], at: str
) -> None:
    assert found(*params, **fields) == [(at, "empty_space")]


THIN: list[tuple[tuple[dict[str, Any], ...], dict[str, Any]]] = [
    ((A, B), {"space_constraints": ["a < b"]}),
    ((A, B), {"space_constraints": ["0.999999 <= a + b <= 1"]}),
    ((A, B), {"space_constraints": ["1 <= a + b <= 1"]}),
    ((floats("a", 1e-6, 1, log=True), floats("b", 1e-6, 1, log=True)), {"space_constraints": ["a + b >= 1.9999"]}),
    ((ints("k", 0, 10**9), ints("n", 0, 10**9), A), {"space_constraints": ["1000000000 <= k + n <= 1000000000"]}),
    ((ints("k", 1, 2**20, log=True), ints("n", 1, 2**20, log=True), A), {"space_constraints": ["k < n < k + 2"]}),
    ((floats("a", step=0.1), ints("n", 0, 10**9), B), {"space_constraints": ["0 <= 10*a - n <= 0"]}),
    ((choice("c", "x", "y"), floats("m", when={"c": "x"}), A), {"space_constraints": ["0.5 <= m - a <= 0.5001"]}),
    (
        (*(choice(f"c{i}", *range(10)) for i in range(6)), A),
        {"forbidden": [{f"c{i}": list(range(9))} for i in range(6)]},
    ),
    # 10^10 combinations, too many to list, of which hardly any is allowed: neighbours must be alike.
    (
        (*(choice(f"c{i}", *range(10)) for i in range(10)), A),
        {
            "forbidden": [
                {f"c{i}": v, f"c{i + 1}": [w for w in range(10) if w != v]} for i in range(9) for v in range(10)
            ]
        },
    ),
    # A parent in a rule: moving it would change which parameters there are.
    ((ints("k", 1, 3), floats("m", when={"k": [1, 2]}), A), {"space_constraints": ["2.9999 <= k + a <= 3"]}),
]


@pytest.mark.parametrize(("params", "fields"), THIN, ids=[str(fields)[:70] for _, fields in THIN])
def test_a_thin_space_is_sampled_without_leaving_it(params: tuple[dict[str, Any], ...], fields: dict[str, Any]) -> None:
    assert found(*params, **fields) == []
    space, rng = Space.of(a_study(search_space=params, **fields)), np.random.default_rng(0)
    drawn = [sample(space, rng) for _ in range(100)]
    assert [problems(space, point) for point in drawn] == [[]] * 100
    assert len({canonical(space, point) for point in drawn}) >= 10  # the whole of it, not one corner


def test_a_thin_space_is_sampled_along_its_whole_length() -> None:
    space = Space.of(a_study(search_space=(A, B), space_constraints=["0.9999 <= a + b <= 1"]))
    rng = np.random.default_rng(0)
    counts, _ = np.histogram([float(sample(space, rng)["a"]) for _ in range(500)], bins=5, range=(0, 1))
    assert min(counts) >= 50


def test_a_narrow_rule_about_one_choice_does_not_take_the_choice_away() -> None:
    params = (choice("optimizer", "sgd", "adam"), floats("m", when={"optimizer": "sgd"}), A)
    space = Space.of(a_study(search_space=params, space_constraints=["m + a <= 0.001"]))
    rng = np.random.default_rng(0)
    with_sgd = sum(sample(space, rng)["optimizer"] == "sgd" for _ in range(200))
    assert 70 <= with_sgd <= 130


def test_a_sample_depends_on_the_generator_only() -> None:
    params, fields = THIN[2]
    space = Space.of(a_study(search_space=params, **fields))
    again = Space.of(a_study(search_space=params, **fields))
    assert sample(space, np.random.default_rng(7)) == sample(again, np.random.default_rng(7))


def test_an_empty_space_raises_what_a_caller_can_answer() -> None:
    space = Space.of(a_study(search_space=(A, B), space_constraints=["a + b > 5"]))
    with pytest.raises(EmptySpace) as caught:
        sample(space, np.random.default_rng(0))
    assert caught.value.code == "validation_failed"


def test_every_enqueued_configuration_is_checked_against_the_space() -> None:
    params = (choice("optimizer", "sgd", "adam"), floats("momentum", when={"optimizer": "sgd"}), K)
    enqueue = [
        {"optimizer": "sgd", "momentum": 0.5, "k": 3},
        {"optimizer": "adam", "momentum": 0.5, "k": 3},
        {"optimizer": "sgd", "momentum": 2.0, "k": 3},
        {"optimizer": "adam"},
        {"optimizer": "adam", "k": 9},
    ]
    assert found(*params, enqueue=enqueue, space_constraints=["k < 9"]) == [
        ("/enqueue/1/momentum", "inactive_parameter"),
        ("/enqueue/2/momentum", "value_not_in_space"),
        ("/enqueue/3/k", "missing_parameter"),
        ("/enqueue/4", "broken_rule"),
    ]


def test_bounds_near_the_largest_float_are_no_program_but_a_space() -> None:
    assert found(floats("a", -1.7e308, 1.7e308), B, space_constraints=["a < b"]) == []


def test_a_grid_with_rules_that_is_too_large_is_refused_and_one_without_is_counted() -> None:
    wide = tuple(ints(f"p{i}", 0, 99) for i in range(4))
    grid = {"search_space": wide, "sampler": {"type": "grid"}, "trainer": {"name": "external"}}
    assert a_study(**grid).grid_size == 100**4
    assert a_study(**grid).max_trials == 100
    ruled = a_study(**grid, space_constraints=["p0 <= p1"])
    with pytest.raises(GridTooLarge):
        _ = ruled.grid_size
    assert [(error.pointer, error.code) for error in check(ruled)] == [("/sampler/type", "grid_too_large")]


def test_what_a_rule_forbids_does_not_count_towards_the_size_of_a_grid() -> None:
    chain = tuple(ints(f"p{i}", 0, 17) for i in range(8))
    spec = a_study(
        search_space=chain,
        sampler={"type": "grid"},
        budget={"max_trials": 100_000},
        space_constraints=[f"p{i} < p{i + 1}" for i in range(7)],
    )
    assert spec.grid_size == 43_758  # 18 over 8, of 1.1e10 combinations
    assert spec.max_trials == 43_758
