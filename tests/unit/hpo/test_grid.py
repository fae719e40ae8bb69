import pytest

from hpo.domain.history import RngKey
from hpo.samplers.grid import GridSearch, shuffled
from hpo.space.space import Space
from hpo.spec.space import CategoricalParam, FloatParam, IntParam

# E4 of EXPERIMENTS.md: 5 * 2 * 4 * 4 * 3 * 3 * 2 points
PAPER_2 = Space(
    (
        FloatParam(type="float", name="dropout", low=0.0, high=0.4, step=0.1),
        CategoricalParam(type="categorical", name="activation", choices=("relu", "sigmoid")),
        CategoricalParam(type="categorical", name="filters1", choices=(16, 32, 64, 128)),
        CategoricalParam(type="categorical", name="filters2", choices=(16, 32, 64, 128)),
        CategoricalParam(type="categorical", name="dense_units", choices=(64, 128, 256)),
        CategoricalParam(type="categorical", name="optimizer", choices=("sgd", "rmsprop", "adam")),
        CategoricalParam(type="categorical", name="lr", choices=(0.001, 0.01)),
    )
)


def test_every_point_of_a_grid_comes_once() -> None:
    points = {tuple(GridSearch().ask(PAPER_2, (), RngKey(3, number)).values()) for number in range(2880)}
    assert len(points) == 2880


def test_nothing_lies_beyond_the_grid() -> None:
    with pytest.raises(ValueError, match="2880 points, asked for number 2880"):
        GridSearch().ask(PAPER_2, (), RngKey(3, 2880))


def test_a_grid_that_is_cut_off_still_meets_every_value() -> None:
    points = [GridSearch().ask(PAPER_2, (), RngKey(3, number)) for number in range(100)]
    for param in PAPER_2:
        assert len({point[param.name] for point in points}) == param.grid_size


def test_the_order_is_the_seeds() -> None:
    orders = {tuple(shuffled(index, 100, seed) for index in range(100)) for seed in range(20)}
    assert len(orders) == 20


def test_the_first_points_of_many_seeds_cover_the_grid_evenly() -> None:
    counts = [0] * 10
    for seed in range(2000):
        counts[shuffled(0, 10, seed)] += 1
    assert min(counts) > 140
    assert max(counts) < 260


def test_a_grid_larger_than_memory_is_no_obstacle() -> None:
    space = Space(tuple(IntParam(type="int", name=f"p{index}", low=0, high=2**53) for index in range(200)))
    first, second = (GridSearch().ask(space, (), RngKey(0, number)) for number in (0, 1))
    assert first != second
    assert len(set(first.values())) > 150
