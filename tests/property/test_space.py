"""Laws of the search space: no value outside, no value lost on the way to Optuna and back."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.samplers.codes import decoded, encoded
from hpo.samplers.grid import shuffled
from hpo.space.space import Space, grid_point, grid_size, problems, sample
from hpo.space.values import complaint, draw, grid_value
from hpo.spec.space import CategoricalParam, IntParam, Param
from tests.property.spaces import params, spaces

seeds = st.integers(0, 2**31 - 1)


@given(param=params("x"), seed=seeds)
@settings(max_examples=25)
def test_ten_thousand_samples_lie_inside_the_space(param: Param, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = [draw(param, rng) for _ in range(10_000)]
    if isinstance(param, CategoricalParam):
        assert {(type(v), v) for v in values} <= {(type(c), c) for c in param.choices}
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
