"""Laws of the search space: no value outside, no value lost on the way to Optuna and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.domain.history import RngKey
from hpo.samplers.codes import decoded, encoded
from hpo.samplers.grid import GridSearch, shuffled
from hpo.space.check import space_errors
from hpo.space.repair import EmptySpace, construct
from hpo.space.space import (
    Space,
    canonical,
    draw_active,
    fill_defaults,
    grid_point,
    grid_size,
    points,
    problems,
    sample,
    without_inactive,
)
from hpo.space.values import complaint, draw, grid_value
from hpo.spec.space import CategoricalParam, FixedParam, IntParam, Param
from hpo.spec.study import StudySpec
from tests.property.space_reference import active_part, identity, reference_points
from tests.property.spaces import params, ruled_studies, spaces

seeds = st.integers(0, 2**31 - 1)


@given(param=params("x"), seed=seeds)
@settings(max_examples=25)
def test_ten_thousand_samples_lie_inside_the_space(param: Param, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = [draw(param, rng) for _ in range(10_000)]
    if isinstance(param, CategoricalParam | FixedParam):
        assert {(type(v), v) for v in values} <= {(type(c), c) for c in map(param.point, range(param.grid_size))}
    else:
        assert all(param.low <= float(value) <= param.high for value in values)
        assert {type(value) for value in values} == {int if isinstance(param, IntParam) else float}
        if param.grid_size is not None and param.grid_size < 10_000 and not param.log:
            assert set(values) <= {grid_value(param, index) for index in range(param.grid_size)}


@given(space=spaces, seed=seeds)
def test_a_sample_is_accepted_and_comes_back_unchanged(space: Space, seed: int) -> None:
    point = sample(space, np.random.default_rng(seed))
    assert problems(space, point) == []
    again = {p.name: decoded(p, encoded(p, point[p.name])) for p in space}
    assert [(type(value), value) for value in again.values()] == [(type(v), v) for v in point.values()]
    assert again.keys() == point.keys()


@given(
    param=params("x"), value=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.none())
)
def test_any_value_is_either_refused_with_itself_in_the_message_or_a_plain_one(param: Param, value: object) -> None:
    message = complaint(param, value)
    if message is not None:
        assert repr(value) in message
    else:
        assert isinstance(value, (bool, int, float, str))


@given(size=st.integers(1, 300), seed=seeds)
def test_the_shuffled_grid_has_every_index_once(size: int, seed: int) -> None:
    assert sorted(shuffled(index, size, seed) for index in range(size)) == list(range(size))


@given(size=st.integers(1, 2**6000), seed=seeds, number=st.integers(0, 2**6000))
@settings(max_examples=50)
def test_a_grid_of_any_size_is_shuffled_within_itself(size: int, seed: int, number: int) -> None:
    assert 0 <= shuffled(number % size, size, seed) < size


@given(space=spaces)
def test_grid_points_are_points_of_the_space(space: Space) -> None:
    if all(param.grid_size is not None for param in space):
        for index in (0, grid_size(space) // 2, grid_size(space) - 1):
            assert problems(space, grid_point(space, index)) == []


@given(spec=ruled_studies(continuous=False))
def test_the_grid_has_every_allowed_configuration_once_and_nothing_else(spec: StudySpec) -> None:
    space, expected = Space.of(spec), [identity(params) for params in reference_points(spec)]
    size = grid_size(space)
    asked = [GridSearch().ask(space, (), RngKey(1, number)) for number in range(size)]
    assert sorted(map(repr, map(sorted_items, asked))) == sorted(map(repr, map(sorted_pairs, expected)))
    assert spec.grid_size == size
    assert spec.max_trials == min(size, 100_000)
    assert [identity(point) for point in points(space)] == [identity(grid_point(space, i)) for i in range(size)]


def sorted_items(params: object) -> list[object]:
    return sorted(params.items(), key=repr)  # type: ignore[attr-defined]


def sorted_pairs(pairs: object) -> list[object]:
    return sorted(((name, value) for name, _, value in pairs), key=repr)  # type: ignore[attr-defined]


@given(spec=ruled_studies(continuous=False), seed=seeds)
def test_a_finite_space_is_sampled_or_truly_empty(spec: StudySpec, seed: int) -> None:
    expected = {identity(params) for params in reference_points(spec)}
    if not expected:
        with pytest.raises(EmptySpace):
            sample(Space.of(spec), np.random.default_rng(seed))
        assert {error.code for error in space_errors(spec)} == {"empty_space"}
    else:
        rng = np.random.default_rng(seed)
        assert {identity(sample(Space.of(spec), rng)) for _ in range(10)} <= expected
        assert space_errors(spec) == []


@given(spec=ruled_studies(continuous=True), seed=seeds)
def test_a_sample_of_a_space_with_rules_is_a_point_of_it(spec: StudySpec, seed: int) -> None:
    space, rng = Space.of(spec), np.random.default_rng(seed)
    if space_errors(spec):
        return
    for made in (sample(space, rng), sample(space, rng)):
        assert problems(space, made) == []
        assert without_inactive(space, made) == made
        assert fill_defaults(space, made) == made
        assert list(made) == [param.name for param in space if param.name in made]


@given(spec=ruled_studies(continuous=True), seed=seeds)
def test_a_constructed_point_is_a_point_of_the_space(spec: StudySpec, seed: int) -> None:
    space, rng = Space.of(spec), np.random.default_rng(seed)
    if space_errors(spec):
        return
    assert problems(space, construct(space, draw_active(space, rng), rng)) == []


@given(spec=ruled_studies(continuous=True), seed=seeds)
@settings(max_examples=10)
def test_ten_thousand_samples_lie_inside_a_space_with_rules(spec: StudySpec, seed: int) -> None:
    space, rng = Space.of(spec), np.random.default_rng(seed)
    if not space_errors(spec):
        for _ in range(10_000):
            assert problems(space, sample(space, rng)) == []


@given(spec=ruled_studies(continuous=False), seed=seeds)
def test_what_conditions_switch_off_is_left_out_and_refused_by_name(spec: StudySpec, seed: int) -> None:
    space, rng = Space.of(spec), np.random.default_rng(seed)
    full = {param.name: draw(param, rng) for param in space}
    active = active_part(spec, full)
    assert without_inactive(space, full) == active
    told = {error.pointer: error.code for error in problems(space, full)}
    inactive = full.keys() - active.keys()
    if inactive:
        assert told == {f"/{name}": "inactive_parameter" for name in inactive}
    missing = sorted(active)[0]
    left = {name: value for name, value in active.items() if name != missing}
    assert (f"/{missing}", "missing_parameter") in [(one.pointer, one.code) for one in problems(space, left)]


@given(spec=ruled_studies(continuous=False), seed=seeds)
def test_configurations_are_canonically_equal_if_and_only_if_they_are_the_same(spec: StudySpec, seed: int) -> None:
    space, rng = Space.of(spec), np.random.default_rng(seed)
    one, other = ({param.name: draw(param, rng) for param in space} for _ in range(2))
    alike = identity(active_part(spec, one)) == identity(active_part(spec, other))
    assert (canonical(space, one) == canonical(space, other)) == alike
    assert canonical(space, dict(reversed(one.items()))) == canonical(space, one)
    assert canonical(space, without_inactive(space, one)) == canonical(space, one)


@given(spec=ruled_studies(continuous=True))
def test_a_space_survives_its_way_through_json(spec: StudySpec) -> None:
    again = StudySpec.model_validate_json(spec.model_dump_json())
    assert repr(Space.of(again)) == repr(Space.of(spec))  # repr, since 1 and True are equal
