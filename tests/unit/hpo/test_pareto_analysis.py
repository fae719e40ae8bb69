from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.analysis.pareto import front, hypervolume, reference_point

Vectors = list[tuple[float, ...]]
few = st.integers(0, 6).map(float)
vectors = st.integers(1, 4).flatmap(lambda n: st.lists(st.tuples(*[few] * n), min_size=1, max_size=25))


def dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


@given(vectors=vectors)
def test_the_front_is_whoever_nobody_dominates(vectors: Vectors) -> None:
    assert front(vectors) == [
        position for position, mine in enumerate(vectors) if not any(dominates(other, mine) for other in vectors)
    ]


def test_equal_vectors_share_the_front() -> None:
    assert front([(1.0, 2.0), (2.0, 1.0), (1.0, 2.0), (2.0, 2.0)]) == [0, 1, 2]
    assert front([]) == []


def test_sums_that_round_alike_hide_no_domination() -> None:
    assert front([(1e16, 1.0), (1e16, 0.0)]) == [1]
    assert front([(1e16, 0.0), (1e16, 1.0)]) == [0]


def test_the_reference_point_is_a_tenth_of_the_range_beyond_the_worst() -> None:
    assert reference_point([(0.0, 5.0), (10.0, 5.0)]) == pytest.approx([11.0, 5.1])


@given(vectors=vectors)
def test_every_trial_counts_towards_the_hypervolume(vectors: Vectors) -> None:
    reference = reference_point(vectors)
    assert all(x < worst for vector in vectors for x, worst in zip(vector, reference, strict=True))
    assert hypervolume(vectors, reference) > 0


def test_the_hypervolume_is_the_area_below_the_stairs() -> None:
    assert hypervolume([(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)], (4.0, 4.0)) == 6.0
    assert hypervolume([(1.0,), (3.0,)], (4.0,)) == 3.0
    assert hypervolume([(1.0, 1.0, 1.0)], (2.0, 3.0, 4.0)) == 6.0


def test_what_lies_beyond_the_reference_adds_nothing() -> None:
    assert hypervolume([(5.0, 0.0)], (4.0, 4.0)) == 0.0
    assert hypervolume([(5.0, 0.0), (3.0, 3.0)], (4.0, 4.0)) == 1.0


@given(vectors=vectors)
def test_the_hypervolume_is_the_number_of_dominated_cells(vectors: Vectors) -> None:
    side, n = 7, len(vectors[0])
    cells = list(product(range(side), repeat=n))
    dominated = sum(any(all(v <= x for v, x in zip(vector, cell, strict=True)) for vector in vectors) for cell in cells)
    assert hypervolume(vectors, (float(side),) * n) == pytest.approx(dominated)
