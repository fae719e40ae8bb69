"""Laws of rungs with several objectives."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.study._multi_objective import _fast_non_domination_rank

from hpo.domain.dominance import crowding_distances, domination_ranks, nondominated
from hpo.domain.merit import WORST, merit
from hpo.schedulers.asha import PromotingAsha, StoppingAsha
from hpo.schedulers.base import Action, Key, RungEntry, is_among_best
from hpo.schedulers.pareto import ParetoLog, ordered
from hpo.schedulers.rung_log import MemoryRungLog
from tests.property.pareto_reference import best_first


def entries_of(seed: int) -> list[RungEntry]:
    """A rung of two or three objectives, with ties, infeasible and ended trials; the order of arrival is mixed up."""
    draw = random.Random(seed)
    size, n_objectives, choices = draw.randint(1, 25), draw.randint(2, 3), draw.choice([3, 8, 1000])
    arrivals = draw.sample(range(size), size)
    found = []
    for trial in range(size):
        violation = draw.choice([0.0, 0.0, 0.0, 0.5, 2.0])
        vector = tuple(merit(float(draw.randrange(choices)), violation) for _ in range(n_objectives))
        ended = draw.random() < 0.1
        loss = WORST if ended else vector[0]
        found.append(RungEntry(trial, 0, 0, loss, arrivals[trial], (WORST,) * n_objectives if ended else vector))
    return found


@pytest.mark.parametrize("first", range(0, 2000, 250))
def test_the_order_of_a_rung_equals_the_references(first: int) -> None:
    for seed in range(first, first + 250):
        entries = entries_of(seed)
        wanted = best_first(entries)
        log = ParetoLog(MemoryRungLog(entries))
        assert [one.entry.trial for one in log.entries(0, 0)] == wanted, seed
        assert [one.trial for one in ordered(entries[::-1])] == wanted, seed
        for position, trial in enumerate(wanted):
            entry = entries[trial]
            loss = WORST if entry.loss >= WORST else float(position)
            assert log.kth(0, 0, position + 1) == Key(loss, entry.seq), seed
        assert log.kth(0, 0, len(wanted) + 1) is None


@pytest.mark.parametrize("first", range(0, 2000, 250))
def test_an_arrival_is_among_the_best_if_it_is_in_the_order_of_all(first: int) -> None:
    for seed in range(first, first + 250):
        *there, arrival = sorted(entries_of(seed), key=lambda entry: entry.seq)
        if arrival.loss >= WORST:
            continue
        log = ParetoLog(MemoryRungLog(there))
        position = best_first([*there, arrival]).index(arrival.trial)
        for keep in range(len(there) + 2):
            assert is_among_best(log.placed(arrival), keep, log) == (position < keep), seed


@pytest.mark.parametrize("seed", range(200))
def test_the_best_that_waits_is_the_first_in_the_order_that_does(seed: int) -> None:
    draw, below = random.Random(seed), MemoryRungLog(entries := entries_of(seed))
    log = ParetoLog(below)
    gone = {one.trial for one in entries if one.loss >= WORST or draw.random() < 0.5}
    for trial in gone:
        below.leave(0, 0, trial)
    waiting = [trial for trial in best_first(entries) if trial not in gone]
    found = log.best_waiting(0, 0)
    assert (None if found is None else found.trial) == (waiting[0] if waiting else None)
    assert [one.entry.trial for one in log.entries(0, 0) if one.waiting] == waiting


@given(
    points=st.integers(2, 4).flatmap(
        lambda m: st.lists(st.lists(st.integers(0, 6), min_size=m, max_size=m), min_size=1, max_size=60)
    )
)
def test_ranks_equal_optunas(points: list[list[int]]) -> None:
    values = np.array(points, dtype=np.float64)
    np.testing.assert_array_equal(domination_ranks(values), _fast_non_domination_rank(values))
    np.testing.assert_array_equal(nondominated(values), domination_ranks(values) == 0)


def test_the_ends_of_a_rank_are_infinitely_far_and_between_them_the_gaps_count() -> None:
    values = np.array([[0.0, 3.0], [1.0, 1.0], [3.0, 0.0], [5.0, 5.0]])
    assert crowding_distances(values, np.array([0, 0, 0, 1])).tolist() == [np.inf, 2.0, np.inf, 0.0]


def test_a_feasible_trial_ranks_before_any_that_breaks_a_constraint_and_the_ended_come_last() -> None:
    vectors = [(merit(0.0, 0.1),) * 2, (merit(9.0), merit(9.0)), (merit(0.0, 0.01),) * 2]
    entries = [RungEntry(trial, 0, 0, vector[0], trial + 1, vector) for trial, vector in enumerate(vectors)]
    entries.append(RungEntry(3, 0, 0, WORST, 0))
    assert [one.trial for one in ordered(entries)] == [1, 2, 0, 3]


def test_a_trial_that_is_best_in_nothing_but_dominated_by_nobody_is_promoted() -> None:
    log = MemoryRungLog()
    for trial, vector in enumerate([(5.0, 5.0), (6.0, 6.0), (7.0, 5.5), (5.5, 7.0), (9.0, 9.0)]):
        log.add(RungEntry(trial, 0, 0, vector[0], trial, vector))
    arrival = RungEntry(5, 0, 0, 8.0, 5, (8.0, 1.0))  # the worst but one in the first objective
    for asha in (PromotingAsha((1, 3), 3), StoppingAsha((1, 3), 3)):
        assert asha.on_report(arrival, log).action is not Action.CONTINUE
        ranked = ParetoLog(log)
        assert asha.on_report(ranked.placed(arrival), ranked).action is Action.CONTINUE
