"""Other schedulers on recorded curves: held against brute force on tiny tables, every censored trial counted."""

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import pytest

from hpo.domain.errors import InvalidSpec
from hpo.spec.schedulers import AshaSpec, AutoSchedulerSpec
from hpo.spec.study import StudySpec
from hpo.whatif import Censored, Counterfactual, Curve, Found, recorded, variant, whatif
from tests.unit.hpo.builders import a_study

FULL = 9
Table = list[list[float]]


def curves(table: Sequence[Sequence[float]], **fields: Any) -> list[Curve]:
    """A curve a row, an epoch a column, two seconds each."""
    return [
        Curve(number, {"x": number / 100}, range(1, len(row) + 1), row, [2.0] * len(row), **fields)
        for number, row in enumerate(table)
    ]


def study(n: int, **scheduler: Any) -> StudySpec:
    spec = a_study(scheduler={"type": "fifo", "max_resource": FULL}, budget={"max_trials": max(n, 1)})
    return variant(spec, scheduler) if scheduler else spec


def random_table(seed: int) -> Table:
    """Few trials of coarse losses, so that ties are common; some records end early, some diverge."""
    rng = np.random.default_rng(seed)
    table: Table = []
    for _ in range(int(rng.integers(1, 13))):
        row = (rng.integers(0, 8, FULL) / 4).tolist()
        if rng.random() < 0.5:
            row = row[: int(rng.integers(0, FULL + 1))]
        if row and rng.random() < 0.2:
            row[-1] = math.nan
        table.append(row)
    return table


def told(counterfactual: Counterfactual) -> tuple[Any, ...]:
    one = counterfactual
    return one.epochs, one.best, one.censored, one.certain_epochs, one.certain_best, one.complete


class Reference:
    """One worker trains a trial after the other, so that a scheduler which only stops is a loop over a table."""

    def __init__(self, table: Table, stops: Sequence[int]) -> None:
        self.epochs, self.complete = 0, 0
        self.certain: tuple[int, Found | None] | None = None
        self.censored: list[Censored] = []
        found: list[Found] = []
        for number, row in enumerate(table):
            last, missing = self.train(number, row, stops)
            self.epochs += last
            if last and math.isfinite(row[last - 1]):
                found.append(Found(number, last, row[last - 1]))
            self.best = min(found, key=lambda one: (one.loss, one.trial), default=None)
            if missing is not None:
                self.certain = self.certain or (self.epochs, self.best)
                self.censored.append(Censored(number, last, missing))

    def train(self, number: int, row: list[float], stops: Sequence[int]) -> tuple[int, int | None]:
        """The last epoch of a trial, and the stop that its record does not reach."""
        at = 0
        for stop in stops:
            for step in range(at + 1, stop + 1):
                if step > len(row):
                    self.lost(stop)
                    return len(row), stop
                if math.isnan(row[step - 1]):
                    self.lost(stop)
                    return step, None
            at = stop
            if not self.goes_on(row, stop):
                return stop, None
        self.complete += 1
        return at, None

    def lost(self, stop: int) -> None:
        """A trial ended on its way to ``stop``."""

    def goes_on(self, row: list[float], stop: int) -> bool:
        raise NotImplementedError

    def told(self) -> tuple[Any, ...]:
        certain = self.certain or (self.epochs, self.best)
        return self.epochs, self.best, tuple(self.censored), *certain, self.complete


class Stopping(Reference):
    """ASHA that stops, reduction factor 3: rungs at 1, 3 and 9."""

    def __init__(self, table: Table) -> None:
        self.rungs: dict[int, list[float]] = {1: [], 3: [], 9: []}
        super().__init__(table, (1, 3, 9))

    def lost(self, stop: int) -> None:
        self.rungs[stop].append(math.inf)

    def goes_on(self, row: list[float], stop: int) -> bool:
        before, mine = self.rungs[stop], row[stop - 1]
        ahead = sum(loss <= mine for loss in before)
        before.append(mine)
        return ahead < max(1, len(before) // 3) or stop == FULL


class Median(Reference):
    """The best so far against the median of the last values at the same step, once two have been there."""

    def __init__(self, table: Table) -> None:
        self.seen: dict[int, list[float]] = {step: [] for step in range(1, FULL + 1)}
        super().__init__(table, range(1, FULL + 1))

    def goes_on(self, row: list[float], stop: int) -> bool:
        rivals = list(self.seen[stop])
        self.seen[stop].append(row[stop - 1])
        return stop == FULL or len(rivals) < 2 or min(row[:stop]) <= median(rivals)


@pytest.mark.parametrize(
    ("scheduler", "reference"),
    [({"type": "asha", "mode": "stop"}, Stopping), ({"type": "median", "min_trials": 2}, Median)],
    ids=["asha", "median"],
)
def test_one_worker_spends_finds_and_misses_what_a_loop_over_the_table_does(
    scheduler: dict[str, Any], reference: type[Any]
) -> None:
    censored = 0
    for seed in range(200):
        table = random_table(seed)
        found = whatif(study(len(table), **scheduler), curves(table), workers=1)
        assert told(found) == reference(table).told(), seed
        assert (found.trials, found.not_started) == (len(table), 0)
        censored += len(found.censored)
    assert censored > 50  # the tables do hold what is asked about


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_the_studys_own_scheduler_on_complete_curves_gives_what_was_recorded(workers: int) -> None:
    rng = np.random.default_rng(5)
    record = curves(rng.random((20, FULL)).tolist())
    found = whatif(study(20), record, workers=workers)
    assert (found.epochs, found.best) == recorded(study(20), record) == (20 * FULL, found.best)
    assert (found.censored, found.trials, found.complete, found.trials_missing) == ((), 20, 20, False)
    assert found.certain_epochs == found.epochs
    assert found.device_s == 20 * FULL * 2
    assert found.makespan_s == math.ceil(20 / workers) * FULL * 2


def test_synchronous_halving_on_complete_curves_keeps_the_best_of_each_rung() -> None:
    table = np.random.default_rng(3).random((9, FULL))
    found = whatif(study(9, type="successive_halving"), curves(table.tolist()), workers=4)
    first = np.argsort(table[:, 0])[:3]
    (last,) = first[np.argsort(table[first, 2])[:1]]
    assert (found.epochs, found.complete, found.censored) == (9 * 1 + 3 * 2 + 1 * 6, 1, ())
    ends = {n: 9 if n == last else 3 if n in first else 1 for n in range(9)}
    best = min(range(9), key=lambda n: table[n, ends[n] - 1])
    assert found.best == Found(best, ends[best], table[best, ends[best] - 1])


def test_a_synchronous_rung_does_not_wait_for_a_trial_whose_record_ends() -> None:
    table = [[0.1, 0.1], *([[0.5] * FULL] * 8)]  # the best of the first rung was recorded for two epochs
    found = whatif(study(9, type="successive_halving"), curves(table), workers=2)
    assert found.censored == (Censored(0, 2, 3),)
    assert found.epochs_missing == 1
    assert (found.best, found.complete) == (Found(0, 2, 0.1), 1)
    assert found.certain_epochs < found.epochs == 9 + 1 + 2 + 2 + 6
    assert found.certain_best == found.best


def test_a_trial_that_failed_in_the_record_fails_there_and_does_not_count_as_found() -> None:
    record = [replace(one, failed=one.number == 0) for one in curves([[0.0] * 4, [0.5] * FULL])]
    found = whatif(study(2), record, workers=1)
    assert (found.epochs, found.complete, found.censored) == (4 + FULL, 1, ())
    assert found.best == Found(1, FULL, 0.5)
    assert recorded(study(2), record) == (4 + FULL, Found(1, FULL, 0.5))
    early = whatif(study(2, type="fifo", max_resource=3), record, workers=1)
    assert early.best == Found(0, 3, 0.0)  # it had not failed by then


def test_trials_that_were_never_recorded_are_missed() -> None:
    record = curves([[0.5] * FULL] * 3)
    wanted = study(10)
    assert whatif(wanted, record, workers=1).trials_missing
    assert not whatif(wanted.model_copy(update={"budget": study(3).budget}), record, workers=1).trials_missing
    assert whatif(wanted, [], workers=1) == Counterfactual(0, 0, 0, 0, 0.0, 0.0, None, (), 0, None, trials_missing=True)


def test_a_budget_of_epochs_leaves_trials_unstarted() -> None:
    spec = a_study(scheduler={"type": "fifo", "max_resource": FULL}, budget={"max_trials": 5, "max_epochs": 20})
    found = whatif(spec, curves([[0.5] * FULL] * 5), workers=1)
    assert (found.trials, found.not_started, found.epochs, found.trials_missing) == (2, 3, 18, False)


def test_epochs_that_were_not_reported_have_the_value_before_them() -> None:
    sparse = Curve(0, {"x": 0.5}, [2, 5, FULL], [0.8, 0.6, 0.1], [4.0, 9.0, None])
    spec = variant(study(1), {"type": "fifo", "max_resource": 4})
    found = whatif(spec, [sparse], workers=1)
    assert found.best == Found(0, 4, 0.8)  # not what came only at epoch 5
    assert found.device_s == 4.0 + 2 * 3.0
    assert whatif(study(1), [sparse], workers=1).device_s == 4.0 + 9.0 + 4 * median([2.0, 3.0])


def test_a_trial_that_breaks_a_constraint_is_not_the_best() -> None:
    bound = {"metric": "cost", "op": "<=", "value": 4}
    spec = a_study(scheduler={"type": "fifo", "max_resource": 2}, budget={"max_trials": 3}, constraints=[bound])
    rows: list[tuple[list[float], list[float | None]]] = [
        ([0.1, 0.1], [1.0, 1.0]),
        ([0.2, 0.2], [3.0, 0.0]),
        ([0.3, 0.3], [None, None]),
    ]
    record = [
        Curve(n, {"x": n / 10}, [1, 2], losses, [1.0, 1.0], violations) for n, (losses, violations) in enumerate(rows)
    ]
    assert whatif(spec, record, workers=1).best == recorded(spec, record)[1] == Found(1, 2, 0.2)


def test_what_no_record_can_tell_is_refused_with_its_field() -> None:
    spec = study(20)
    both = [{"metric": "acc", "direction": "maximize"}, {"metric": "cost", "direction": "minimize"}]
    population = {"type": "pbt", "max_resource": 9, "interval": 3}
    for refused, pointer in (
        (lambda: variant(spec, {"type": "frob"}), "/scheduler/type"),
        (lambda: variant(spec, {"type": "median", "min_trial": 3}), "/scheduler/min_trial"),
        (lambda: variant(spec, population), "/scheduler/type"),
        (lambda: variant(spec, {"type": "fifo"}, [{"type": "patience", "patience": 0}]), "/pruners/0/patience"),
        (lambda: variant(spec, {"type": "asha", "n_full": 21}), "/scheduler/n_full"),
        (lambda: whatif(a_study(scheduler=population, budget={"max_trials": 16}), [], workers=1), "/scheduler/type"),
        (lambda: whatif(a_study(objectives=both), [], workers=1), "/objectives"),
    ):
        with pytest.raises(InvalidSpec) as error:
            refused()
        assert [one.pointer for one in error.value.errors] == [pointer]


def test_auto_is_resolved_and_the_full_resource_is_the_studys() -> None:
    made = variant(study(20), {"type": "auto"})
    assert made.scheduler.max_resource == FULL
    assert isinstance(made.scheduler, AutoSchedulerSpec)
    assert isinstance(made.scheduler.picked, AshaSpec)
