from typing import Any

import pytest

from hpo.plan import RungShare, plan, spread
from tests.unit.hpo.builders import a_study

ASHA = {"type": "asha", "max_resource": 16, "reduction_factor": 4, "n_full": 4}


def rows(scheduler: dict[str, Any], max_trials: int) -> list[tuple[int, int, int, int]]:
    """Bracket, resource, trials and epochs of each rung."""
    found = plan(a_study(scheduler=scheduler, budget={"max_trials": max_trials}))
    return [(one.bracket, one.resource, one.trials, one.epochs) for one in found.rungs]


def test_the_plan_of_the_first_paper_has_its_numbers() -> None:
    # E2 of EXPERIMENTS.md: R=16, r=1, eta=4, N_m=4, nominally 64/16/4 configurations and 160 epochs with resume
    found = plan(a_study(scheduler=ASHA, budget={"max_trials": 1000}))
    assert found.rungs == (RungShare(0, 0, 1, 64, 64), RungShare(0, 1, 4, 16, 48), RungShare(0, 2, 16, 4, 48))
    assert (found.trials, found.epochs, found.epochs_without_pruning) == (64, 160, 1024)
    assert found.gpu_hours(90.0) == 4.0


def test_a_plan_is_cut_by_the_budget() -> None:
    assert [trials for _, _, trials, _ in rows(ASHA, 30)] == [30, 7, 1]
    assert [trials for _, _, trials, _ in rows(ASHA, 3)] == [3, 0, 0]
    assert [trials for _, _, trials, _ in rows(ASHA | {"mode": "stop"}, 3)] == [3, 1, 1]


def test_the_plan_of_hyperband_has_the_brackets_of_its_paper() -> None:
    hyperband = {"type": "hyperband", "max_resource": 81}
    once = rows(hyperband, 143)
    assert [trials for _, resource, trials, _ in once if resource == 81] == [1, 1, 1, 2, 5]
    assert [(bracket, resource, trials) for bracket, resource, trials, _ in once if bracket < 2] == [
        (0, 1, 81), (0, 3, 27), (0, 9, 9), (0, 27, 3), (0, 81, 1), (1, 3, 34), (1, 9, 11), (1, 27, 3), (1, 81, 1),
    ]  # fmt: skip
    twice = rows(hyperband, 286)
    assert twice == [(bracket, resource, 2 * trials, 2 * epochs) for bracket, resource, trials, epochs in once]


def test_the_trials_of_all_brackets_are_those_of_the_study() -> None:
    for scheduler in (
        {"type": "asha", "max_resource": 81, "brackets": 3},
        {"type": "hyperband", "max_resource": 81, "mode": "async"},
        {"type": "successive_halving", "max_resource": 27},
    ):
        found = plan(a_study(scheduler=scheduler, budget={"max_trials": 100}))
        assert found.trials == 100
        assert (
            found.epochs
            == sum(one.epochs for one in found.rungs)
            < found.epochs_without_pruning
            == 100 * (81 if scheduler["max_resource"] == 81 else 27)
        )


def test_successive_halving_sends_a_third_of_each_bracket_up() -> None:
    halving = {"type": "successive_halving", "max_resource": 9}
    assert rows(halving, 18) == [(0, 1, 18, 18), (0, 3, 6, 12), (0, 9, 2, 12)]
    # The second bracket is cut short at one trial, which goes all the way as the best of it.
    assert rows(halving, 10) == [(0, 1, 10, 10), (0, 3, 4, 8), (0, 9, 2, 12)]


def test_a_plan_without_pruning_trains_every_trial_to_the_end() -> None:
    found = plan(a_study(scheduler={"type": "fifo", "max_resource": 7}, budget={"max_trials": 5}))
    assert found.rungs == (RungShare(0, 0, 7, 5, 35),)
    assert found.epochs == found.epochs_without_pruning == 35


def test_a_population_is_trained_whole() -> None:
    pbt = {"type": "pbt", "max_resource": 6, "interval": 2, "population_size": 8}
    assert rows(pbt, 100) == [(0, 2, 8, 16), (0, 4, 8, 16), (0, 6, 8, 16)]


def test_the_plan_of_a_grid_has_no_more_trials_than_points() -> None:
    space = [{"type": "int", "name": "k", "low": 1, "high": 6}]
    found = plan(a_study(sampler={"type": "grid"}, search_space=space, scheduler={"type": "fifo", "max_resource": 2}))
    assert found.trials == 6


def test_without_room_to_move_the_spread_is_the_plan() -> None:
    spec = a_study(scheduler={"type": "fifo", "max_resource": 7}, budget={"max_trials": 5})
    found = spread(spec, workers=3)
    assert found is not None
    assert (found.low, found.median, found.high, found.runs) == (35, 35, 35, 20)


def test_the_spread_of_asha_holds_its_plan_and_depends_on_the_seeds_alone() -> None:
    spec = a_study(scheduler=ASHA, budget={"max_trials": 64})
    found = spread(spec, workers=8)
    assert found is not None
    assert found.low <= found.median <= found.high
    assert found.low <= 160 <= found.high
    assert spread(spec, workers=8) == found
    few = spread(spec, workers=8, seeds=[3])
    assert few is not None
    assert few.low == few.high


@pytest.mark.parametrize(
    "changes",
    [
        {"pruners": [{"type": "patience", "patience": 2}]},
        {"objectives": [{"metric": name, "direction": "minimize"} for name in ("loss", "size")]},
        {"budget": {"max_trials": 1001}},
    ],
)
def test_what_cannot_be_simulated_by_rank_alone_has_no_spread(changes: dict[str, Any]) -> None:
    assert spread(a_study(**changes), workers=2) is None
