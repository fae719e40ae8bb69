"""Laws of Hyperband with synchronous brackets."""

import random
from itertools import product

import pytest

from hpo.schedulers.base import Action
from hpo.schedulers.hyperband import Hyperband, bracket_sizes
from hpo.spec.schedulers import HyperbandSpec
from tests.property.drive import Drive, answered_again
from tests.property.halving_reference import ReferenceHalving

R81 = Hyperband((1, 3, 9, 27, 81), 3)

# (trials, resource) of the rungs of each bracket for R = 81, eta = 3, by Algorithm 1 of the paper.
BRACKETS_OF_81 = [
    [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    [(34, 3), (11, 9), (3, 27), (1, 81)],
    [(15, 9), (5, 27), (1, 81)],
    [(8, 27), (2, 81)],
    [(5, 81)],
]


def drive_of(seed: int) -> Drive:
    draw = random.Random(seed)
    eta, n_levels = draw.randint(2, 4), draw.randint(1, 3)
    # The paper's formula with exact fractions written out: ceil(a / b) for positive integers.
    sizes = [(n_levels * eta**s + s) // (s + 1) for s in reversed(range(n_levels))]
    return Drive(
        Hyperband(tuple(eta**k for k in range(n_levels)), eta),
        ReferenceHalving([(size, n_levels - start) for start, size in enumerate(sizes)], eta),
        seed,
        workers=draw.randint(1, 8),
        max_trials=draw.randint(1, 40),
        failing=draw.choice([0, 0, 0.1, 0.5]),
        cancelling=draw.choice([0, 0, 0.2]),
    )


def test_the_brackets_of_81_and_3_are_those_of_the_papers_formula() -> None:
    assert bracket_sizes(5, 3) == (81, 34, 15, 8, 5)
    assert [R81.ladder(bracket)[0] for bracket in range(5)] == [1, 3, 9, 27, 81]
    found = [
        [(R81.share(R81.size(bracket), rung), resource) for rung, resource in enumerate(R81.ladder(bracket))]
        for bracket in range(5)
    ]
    assert found == BRACKETS_OF_81


def test_a_ladder_of_243_has_every_rung_of_3() -> None:
    levels = HyperbandSpec(max_resource=243).levels
    assert levels == (1, 3, 9, 27, 81, 243)
    assert bracket_sizes(len(levels), 3) == (243, 98, 41, 18, 9, 6)


def test_trials_fill_the_brackets_in_turn_and_then_all_over_again() -> None:
    sizes = bracket_sizes(5, 3)
    wanted = [bracket for bracket in range(12) for _ in range(sizes[bracket % 5])]
    assert [R81.bracket_of(number) for number in range(len(wanted))] == wanted
    assert [R81.first(bracket) for bracket in range(12)] == [wanted.index(bracket) for bracket in range(12)]


@pytest.mark.parametrize(("workers", "seed"), list(product([1, 7, 64], range(3))))
def test_a_round_without_failures_trains_the_papers_numbers_of_trials(workers: int, seed: int) -> None:
    drive = Drive(R81, None, seed, workers=workers, max_trials=143, losses=1000).run()
    for bracket, rungs in enumerate(BRACKETS_OF_81):
        assert [drive.log.count(bracket, rung) for rung in range(len(rungs))] == [trials for trials, _ in rungs]
    assert drive.complete == 1 + 1 + 1 + 2 + 5


@pytest.mark.parametrize(("workers", "seed"), list(product([1, 7, 64], range(10))))
def test_failing_trials_do_not_stall_a_bracket(workers: int, seed: int) -> None:
    drive = Drive(R81, None, seed, workers=workers, max_trials=2 * 143, failing=0.1, losses=1000).run()
    assert (drive.finished, drive.created) == ("max_trials", 286)
    for bracket in range(10):
        ladder = R81.ladder(bracket)
        for rung in range(1, len(ladder)):
            best = drive.rungs.at((bracket, rung - 1))[: R81.share(R81.size(bracket), rung)]
            assert set(best) & set(drive.rungs.alive((bracket, rung - 1))) == set(drive.rungs.at((bracket, rung)))


@pytest.mark.parametrize("first", range(0, 2000, 250))
def test_every_answer_equals_the_references(first: int) -> None:
    for seed in range(first, first + 250):
        drive = drive_of(seed).run()
        assert (drive.finished, drive.created) == ("max_trials", drive.max_trials)


@pytest.mark.parametrize("seed", range(40))
def test_an_answer_depends_on_what_was_written_before_it_alone(seed: int) -> None:
    drive = drive_of(seed).run()
    assert answered_again(drive) == [answer for *_, answer in drive.asked]


def test_a_bracket_at_the_full_resource_completes_whoever_comes() -> None:
    drive = Drive(R81, None, 0, workers=4, max_trials=143).run()
    answers = {decision.action for entry, decision in drive.decisions if entry.bracket == 4}
    assert answers == {Action.COMPLETE}
