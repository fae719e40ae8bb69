"""How a member of a population changes what it copied."""

from collections import Counter
from typing import Any

import pytest

from hpo.domain.history import Params
from hpo.schedulers.explore import explore
from hpo.space.space import Space, broken_rule, problems
from hpo.spec.study import StudySpec
from tests.unit.hpo.builders import a_study

X = {"type": "float", "name": "x", "low": 0.1, "high": 1.0}
PBT = {"type": "pbt", "max_resource": 9, "interval": 3, "population_size": 8}


def study(space: list[dict[str, Any]], seed: int = 1, **changes: Any) -> StudySpec:
    pbt = {name: changes.pop(name) for name in list(changes) if name not in StudySpec.model_fields}
    sampler = {"type": "random", "seed": seed}
    return a_study(search_space=space, scheduler=PBT | pbt, sampler=sampler, **changes)


def explored(spec: StudySpec, source: Params, n: int = 200) -> list[Params]:
    space = Space.of(spec)
    return [explore(spec, space, source, trial=trial, rung=0) for trial in range(n)]


def test_a_number_is_multiplied_by_one_of_the_factors() -> None:
    found = Counter(one["x"] for one in explored(study([X], resample_probability=0), {"x": 0.5}))
    assert found.keys() == {0.5 * 0.8, 0.5 * 1.2}
    assert min(found.values()) > 60


def test_a_number_stays_within_its_range() -> None:
    high = {one["x"] for one in explored(study([X], resample_probability=0), {"x": 0.95})}
    assert high == {0.95 * 0.8, 1.0}
    low = {one["x"] for one in explored(study([X], resample_probability=0), {"x": 0.1})}
    assert low == {0.1, 0.1 * 1.2}


def test_resampling_draws_from_the_whole_range() -> None:
    found = [float(one["x"]) for one in explored(study([X], resample_probability=1), {"x": 0.5})]
    assert min(found) < 0.15
    assert max(found) > 0.95
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("value", [1, 2, 7, 64])
def test_an_integer_moves_though_the_factor_does_not_reach_the_next(value: int, log: bool) -> None:
    space = [{"type": "int", "name": "k", "low": 1, "high": 64, "log": log}]
    found = {one["k"] for one in explored(study(space, resample_probability=0), {"k": value})}
    down = 1 if value == 1 else min(value - 1, round(value * 0.8))
    up = 64 if value == 64 else max(value + 1, round(value * 1.2))
    assert found == {down, up}
    assert all(type(one) is int for one in found)


def test_a_step_is_kept() -> None:
    space = [{"type": "float", "name": "x", "low": 0.0, "high": 1.0, "step": 0.25}]
    spec = study(space, resample_probability=0)
    assert {one["x"] for one in explored(spec, {"x": 0.5})} == {0.25, 0.75}
    assert all(problems(Space.of(spec), one) == [] for one in explored(spec, {"x": 1.0}))


def test_a_choice_keeps_its_value_unless_it_is_resampled() -> None:
    choice = {"type": "categorical", "name": "c", "choices": ["a", "b", "c"]}
    assert {one["c"] for one in explored(study([choice], resample_probability=0), {"c": "b"})} == {"b"}
    assert {one["c"] for one in explored(study([choice], resample_probability=1), {"c": "b"})} == {"a", "b", "c"}


def test_an_ordered_choice_moves_to_a_neighbour() -> None:
    choice = {"type": "categorical", "name": "c", "choices": [16, 32, 64, 128], "ordered": True}
    spec = study([choice], resample_probability=0)
    assert {one["c"] for one in explored(spec, {"c": 64})} == {32, 128}
    assert {one["c"] for one in explored(spec, {"c": 16})} == {16, 32}


def test_only_what_is_mutable_changes() -> None:
    fixed = {"type": "fixed", "name": "f", "value": 3}
    spec = study([X, X | {"name": "y"}, fixed], mutate=["y"])
    for one in explored(spec, {"x": 0.5, "y": 0.5, "f": 3}):
        assert (one["x"], one["f"]) == (0.5, 3)
    assert len({one["y"] for one in explored(spec, {"x": 0.5, "y": 0.5, "f": 3})}) > 10


def test_what_the_source_does_not_use_stays_unused() -> None:
    choice: dict[str, Any] = {"type": "categorical", "name": "c", "choices": ["a", "b"]}
    space = [choice, X | {"when": {"c": ["a"]}}]
    spec = study(space, resample_probability=0)
    assert explored(spec, {"c": "b"}) == [{"c": "b"}] * 200


def test_the_rules_of_the_space_are_kept_or_the_source_is() -> None:
    spec = study([X, X | {"name": "y"}], space_constraints=["x < y"])
    space = Space.of(spec)
    found = explored(spec, {"x": 0.5, "y": 0.52})
    assert all(broken_rule(space, one) is None for one in found)
    assert len({(one["x"], one["y"]) for one in found}) > 10
    stuck = study([X, X | {"name": "y"}], space_constraints=["x + y <= 0.2"], resample_probability=0)
    # Of 0.1 and 0.1 nothing but 0.1 is left within the rule and the range.
    assert {(one["x"], one["y"]) for one in explored(stuck, {"x": 0.1, "y": 0.1})} == {(0.1, 0.1)}


def test_the_same_seed_trial_and_rung_explore_alike_and_others_do_not() -> None:
    spec, source = study([X], resample_probability=1), {"x": 0.5}
    space = Space.of(spec)
    once = explore(spec, space, source, trial=3, rung=1)
    assert explore(spec, space, source, trial=3, rung=1) == once
    assert explore(spec, space, source, trial=3, rung=2) != once
    assert explore(spec, space, source, trial=4, rung=1) != once
    other = study([X], seed=2, resample_probability=1)
    assert explore(other, Space.of(other), source, trial=3, rung=1) != once
