"""The numbers of a contest's table, against scipy and plain loops."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from scipy.stats import rankdata, sem, t

from hpo.analysis.contest import Run, contest_state, half_width, standings
from hpo.domain.study import StudyState
from hpo.spec.search import Objective

LOSS = Objective(metric="loss", direction="minimize")
ACC = Objective(metric="acc", direction="maximize")


def run(method: str, seed: int, loss: float | None, **changes: object) -> Run:
    plain = Run(method, seed, StudyState.FINISHED, loss, epochs=10, device_seconds=36.0, wall_s=72.0, trials=5)
    return replace(plain, **changes)  # type: ignore[arg-type]


def expected_mean_ranks(runs: Sequence[Run]) -> dict[str, float | None]:
    """Seed by seed with scipy's ranks; whoever has no value counts as worse than all."""
    ranks: dict[str, list[float]] = {run.method: [] for run in runs}
    for seed in {run.seed for run in runs}:
        here = [run for run in runs if run.seed == seed]
        if any(run.loss is not None for run in here):
            shown = [1e9 if run.loss is None else run.loss for run in here]
            for one, rank in zip(here, rankdata(shown), strict=True):
                ranks[one.method].append(float(rank))
    return {method: sum(all_) / len(all_) if all_ else None for method, all_ in ranks.items()}


@pytest.mark.parametrize("case", range(200))
def test_every_number_is_that_of_a_plain_calculation(case: int) -> None:
    rng = random.Random(case)
    methods, seeds = [f"m{n}" for n in range(rng.randint(1, 5))], rng.sample(range(100), rng.randint(1, 6))
    runs = [
        run(
            method,
            seed,
            rng.choice([None, 0.25, 0.5, rng.random()]),  # ties and gaps
            state=rng.choice(list(StudyState)),
            epochs=rng.randint(0, 50),
            device_seconds=rng.uniform(0, 1e4),
            wall_s=rng.uniform(0, 1e4),
            trials=rng.randint(0, 9),
        )
        for seed in seeds
        for method in methods
    ]
    rng.shuffle(runs)
    objective = rng.choice([LOSS, ACC])
    sign = -1 if objective is ACC else 1
    table = standings(runs, objective)
    ranks = expected_mean_ranks(runs)
    assert sorted(row.method for row in table) == sorted(methods)
    for row in table:
        mine = [one for one in runs if one.method == row.method]
        losses = [one.loss for one in mine if one.loss is not None]
        assert row.mean_rank == pytest.approx(ranks[row.method])
        assert row.mean == (pytest.approx(sign * sum(losses) / len(losses)) if losses else None)
        assert row.best == (sign * min(losses) if losses else None)
        assert row.best_seed in ({one.seed for one in mine if one.loss == min(losses)} if losses else {None})
        assert row.epochs_total == sum(one.epochs for one in mine)
        assert row.epochs_mean == pytest.approx(row.epochs_total / len(mine))
        assert row.gpu_hours == pytest.approx(sum(one.device_seconds for one in mine) / 3600)
        assert row.wall_hours == pytest.approx(sum(one.wall_s for one in mine) / len(mine) / 3600)
        assert row.trials == sum(one.trials for one in mine)
        states = [one.state.value for one in mine]
        assert row.finished == states.count("finished")
        assert row.failed == states.count("failed") + states.count("cancelled")
        assert row.finished + row.failed + row.running == len(mine)
    shown = [math.inf if row.mean_rank is None else row.mean_rank for row in table]
    assert shown == sorted(shown)


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_the_confidence_interval_is_students(n: int) -> None:
    rng = random.Random(n)
    values = [rng.gauss(5, 2) for _ in range(n)]
    low, high = t.interval(0.95, n - 1, loc=sum(values) / n, scale=sem(values))
    assert half_width(values) == pytest.approx((high - low) / 2)


def test_one_seed_has_no_interval_and_equal_values_one_of_no_width() -> None:
    assert half_width([]) is None
    assert half_width([1.0]) is None
    assert half_width([0.1, 0.1, 0.1]) == 0.0


def test_ties_share_the_mean_of_their_ranks_and_keep_their_order() -> None:
    table = standings([run("b", 1, 0.5), run("a", 1, 0.5), run("c", 1, 0.1)], LOSS)
    assert [(row.method, row.mean_rank) for row in table] == [("c", 1.0), ("b", 2.5), ("a", 2.5)]


def test_a_higher_value_ranks_first_where_the_metric_is_maximised() -> None:
    low, high = run("low", 1, ACC.loss(0.7)), run("high", 1, ACC.loss(0.9))
    first, second = standings([low, high], ACC)
    assert (first.method, first.best, second.best) == ("high", 0.9, 0.7)


def test_a_method_without_a_value_ranks_last_and_an_empty_seed_does_not_count() -> None:
    runs = [run("a", 1, 0.5), run("b", 1, None), run("a", 2, None), run("b", 2, None)]
    assert [(row.method, row.mean_rank) for row in standings(runs, LOSS)] == [("a", 1.0), ("b", 2.0)]
    assert {row.mean_rank for row in standings(runs[2:], LOSS)} == {None}


def test_test_values_are_averaged_over_the_seeds_that_have_one() -> None:
    runs = [run("a", 1, 0.5, test=0.25), run("a", 2, 0.5, test=0.75), run("a", 3, 0.5), run("b", 1, 0.6)]
    table = standings(runs, LOSS)
    assert [row.test for row in table] == [0.5, None]


@pytest.mark.parametrize(
    ("states", "state"),
    [
        ("finished finished", "finished"),
        ("finished running", "running"),
        ("failed stopping", "running"),
        ("cancelled paused", "running"),
        ("created finished", "running"),
        ("finished failed", "failed"),
        ("cancelled finished", "failed"),
    ],
)
def test_a_contest_runs_until_all_have_ended_and_fails_with_any(states: str, state: str) -> None:
    assert contest_state([StudyState(one) for one in states.split()]) == state
