"""The cells of a contour, and the hypervolume of a study as it grew."""

import numpy as np
import pytest

from hpo.analysis.hypervolumes import hypervolume_history
from hpo.analysis.landscape import MOST_CELLS, axis, landscape
from hpo.analysis.observations import Observation
from hpo.analysis.pareto import hypervolume, reference_point
from hpo.domain.history import ParamValue
from hpo.domain.trial import TrialState
from hpo.spec.search import Objective
from hpo.spec.space import CategoricalParam, FloatParam, IntParam

UP, DOWN = Objective(metric="acc", direction="maximize"), Objective(metric="err", direction="minimize")
LR = FloatParam(type="float", name="lr", low=1e-4, high=1.0, log=True)
WIDTH = IntParam(type="int", name="width", low=16, high=128, step=16)
KIND = CategoricalParam(type="categorical", name="kind", choices=("a", True, 1))


def seen(number: int, value: float, *, feasible: bool = True, **params: ParamValue) -> Observation:
    return Observation(number, params, (value,), TrialState.COMPLETE, 1, feasible)


def test_each_value_of_a_small_grid_has_a_cell() -> None:
    assert axis(WIDTH, 10).at == (16, 32, 48, 64, 80, 96, 112, 128)
    assert axis(WIDTH, 10).cell(48) == 2
    assert axis(KIND, 10).at == ("a", True, 1)
    assert [axis(KIND, 10).cell(value) for value in ("a", True, 1, "b")] == [0, 1, 2, None]


@pytest.mark.parametrize("n", [1, 100, 10**6])
def test_a_range_is_cut_into_at_most_64_cells_even_in_its_own_scale(n: int) -> None:
    cells = axis(LR, n).at
    assert 8 <= len(cells) <= MOST_CELLS
    steps = np.diff(np.log([float(at) for at in cells]))
    assert steps == pytest.approx(np.full(len(steps), steps[0]))
    assert [axis(LR, n).cell(at) for at in cells] == list(range(len(cells)))
    assert (axis(LR, n).cell(1e-4), axis(LR, n).cell(1.0), axis(LR, n).cell(2.0)) == (0, len(cells) - 1, None)


def test_a_cell_shows_the_best_of_its_feasible_trials() -> None:
    trials = [
        seen(0, 0.5, lr=1e-4, width=16),
        seen(1, 0.7, lr=1.01e-4, width=16),
        seen(2, 0.9, feasible=False, lr=1e-4, width=16),
        seen(3, 0.1, lr=1.0, width=128),
        seen(4, 0.2, lr=1.0),
    ]
    up = landscape(LR, WIDTH, UP, trials)
    assert (up.best[0][0], up.best[-1][-1], up.n) == (0.7, 0.1, 3)
    assert sum(value is not None for row in up.best for value in row) == 2
    assert landscape(LR, WIDTH, DOWN, trials).best[0][0] == 0.5


def test_the_hypervolume_is_that_of_all_trials_so_far_and_never_falls() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.random((500, 2)).tolist()
    reference = reference_point(vectors)
    volumes = hypervolume_history([vectors[at : at + 50] for at in range(0, 500, 50)], reference)
    assert volumes == sorted(volumes)
    for at, volume in enumerate(volumes):
        assert volume == pytest.approx(hypervolume(vectors[: 50 * (at + 1)], reference))


def test_no_trial_dominates_no_volume() -> None:
    assert hypervolume_history([], [1.0, 1.0]) == []
    assert hypervolume_history([[]], [1.0, 1.0]) == [0.0]
