from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.search.clock import run
from benchmarks.search.figures import table
from benchmarks.search.ladder_methods import run_ladder, spec_of
from benchmarks.search.runs import Cache, Job, Run
from benchmarks.search.tasks import HELD_OUT, Array, Params, Scale, Task, draw, task_names
from hpo.domain.history import RngKey
from hpo.samplers.random_search import RandomSearch
from hpo.space.space import Space

LADDER = (1, 3, 9)
RANDOM = {"type": "random"}


def curves(configs: Sequence[Mapping[str, Any]]) -> tuple[Array, Array]:
    """Nine epochs that get better, at a speed that differs from one configuration to the next."""
    x = np.array([[config["x"]] for config in configs])
    return np.abs(x - 0.3) + 1 / np.arange(1, 10), np.full((len(x), 9), 0.5 + x)


TASK = Task("bowl", [{"type": "float", "name": "x", "low": 0.0, "high": 1.0, "log": False}], 9, curves)


class Alike:
    """Asks for what Ladder's random search asks for; stops a trial that is not in the best third of a rung."""

    def __init__(self, stops: bool) -> None:
        self._space = Space.of(spec_of({"sampler": RANDOM, "scheduler": {"type": "fifo"}}, TASK, seed=5, workers=1))
        self._rungs: dict[int, list[float]] = {level: [] for level in LADDER[:-1] if stops}
        self.ended: list[int] = []

    def ask(self, trial: int) -> Params:
        return RandomSearch().ask(self._space, [], RngKey(5, trial))

    def report(self, trial: int, step: int, loss: float) -> bool:
        if step not in self._rungs:
            return True
        rung = self._rungs[step]
        rung.append(loss)
        return sum(other < loss for other in rung) < max(1, len(rung) // 3)

    def end(self, trial: int, *, diverged: bool) -> None:
        self.ended.append(trial)


@pytest.mark.parametrize(
    ("scheduler", "stops"), [({"type": "fifo"}, False), ({"type": "asha", "mode": "stop", "reduction_factor": 3}, True)]
)
@pytest.mark.parametrize("workers", [1, 4])
def test_ladders_clock_and_that_of_the_peers_tell_the_same_course(
    scheduler: dict[str, Any], stops: bool, workers: int
) -> None:
    ours = run_ladder({"sampler": RANDOM, "scheduler": scheduler}, TASK, seed=5, workers=workers)
    peer = Alike(stops)
    theirs = run(peer, TASK, workers=workers)
    assert ours.trace == theirs.trace
    assert theirs.trace[-1][0] <= TASK.budget == 450
    assert len(peer.ended) == 50 if (workers, stops) == (1, False) else len(peer.ended) < 50


def test_a_run_of_a_method_that_ends_before_its_budget_is_refused() -> None:
    with pytest.raises(RuntimeError, match="n_full"):
        run_ladder({"sampler": RANDOM, "scheduler": {"type": "asha", "n_full": 1}}, TASK, seed=1, workers=4)


def test_regret_is_one_before_the_first_report_and_falls_to_zero_at_the_best() -> None:
    never = Run("t", 10, [], trials=1, seconds=1.0)
    found = Run("t", 10, [(1, 9.0), (2, 4.0), (6, 2.0)], trials=1, seconds=1.0)
    rows = {row.method: row for row in table(["a", "b"], ["t"], [never, found], [Scale(2.0, 6.0)])}
    assert [regret.mean for regret in rows["a"].regrets] == [1, 1, 1]
    assert [regret.mean for regret in rows["b"].regrets] == [1, 0.5, 0]  # 9 is worse than the reference
    # Ten epochs: the first is worth 1, the second to the fifth 0.5, the others 0.
    assert rows["b"].by_task["t"]["regret auc"] == pytest.approx((1 + 4 * 0.5) / 10)


def test_equal_runs_share_their_rank_and_ranks_are_averaged_over_seeds() -> None:
    good, bad = (Run("t", 10, [(1, loss)], trials=1, seconds=0.0) for loss in (0.0, 1.0))
    rows = table(["a", "b", "c"], ["t"], [good, good, good, bad, bad, bad], [Scale(0.0, 2.0)])
    assert {row.method: row.ranks[0].mean for row in rows} == {"a": 1.25, "b": 2.0, "c": 2.75}


def test_an_interval_holds_the_mean_and_closes_where_tasks_agree() -> None:
    runs = [Run(task, 10, [(1, loss)], 1, 0.0) for task, loss in (("t", 0.2), ("u", 0.8), ("t", 1.0), ("u", 1.0))]
    row, other = table(["a", "b"], ["t", "u"], runs, [Scale(0.0, 1.0)] * 2)
    assert (row.regrets[0].low, row.regrets[0].mean, row.regrets[0].high) == pytest.approx((0.2, 0.5, 0.8))
    assert (other.regrets[0].low, other.regrets[0].high) == (1, 1)


def test_a_known_run_is_found_again_by_all_that_decides_it(tmp_path: Path) -> None:
    job = Job("optuna tpe", "nasbench201-cifar10", seed=0, budget=100, workers=4)
    kept = Run(job.task, 100, [(1, 0.5), (7, 0.25)], trials=100, seconds=1.5)
    Cache(tmp_path).add(job, kept)
    cache = Cache(tmp_path)
    assert cache.find(job) == kept
    assert cache.best_losses() == {"nasbench201-cifar10": 0.25}
    assert cache.find(Job("random", "nasbench201-cifar10", seed=0, budget=100, workers=4)) is None
    assert cache.find(Job("optuna tpe", "nasbench201-cifar10", seed=0, budget=100, workers=8)) is None


def test_every_task_is_either_to_choose_by_or_held_out() -> None:
    choice, held_out = task_names("choice"), task_names("held_out")
    assert set(held_out) == HELD_OUT
    assert sorted(choice + held_out) == sorted(task_names("all"))
    assert (len(choice), len(held_out)) == (28, 13)


def test_random_configurations_fill_the_space_on_its_own_scale() -> None:
    space: list[dict[str, Any]] = [
        {"type": "int", "name": "n", "low": 1, "high": 100, "log": True},
        {"type": "float", "name": "x", "low": 1e-4, "high": 1.0, "log": True},
        {"type": "categorical", "name": "c", "choices": ["a", "b"]},
    ]
    drawn = draw(space, 2_000, np.random.default_rng(1))
    assert {config["n"] for config in drawn} >= {1, 2, 100}
    assert all(1 <= config["n"] <= 100 and 1e-4 <= config["x"] <= 1.0 for config in drawn)
    assert 0.45 < np.mean([config["x"] < 1e-2 for config in drawn]) < 0.55
    assert {config["c"] for config in drawn} == {"a", "b"}
