"""Laws of asynchronous successive halving."""

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.domain.merit import WORST
from hpo.schedulers.asha import PromotingAsha, StoppingAsha
from hpo.schedulers.base import Action, NewTrial, Promote, RungEntry, StudyView, Wait
from hpo.schedulers.rung_log import MemoryRungLog
from hpo.spec.schedulers import AshaSpec
from tests.property.asha_reference import ReferenceAsha
from tests.property.drive import Drive, answered_again

losses = st.floats(-10, 10) | st.sampled_from([0.0, 1.0])  # the second part makes ties frequent
etas = st.integers(2, 5)
FREE = StudyView(created=0, max_trials=10**6, queued=0, running=0, complete=0)


def log_of(rivals: list[float]) -> MemoryRungLog:
    return MemoryRungLog(RungEntry(number, 0, 0, loss, number) for number, loss in enumerate(rivals))


def arrival(rivals: list[float], loss: float) -> RungEntry:
    return RungEntry(len(rivals), 0, 0, loss, len(rivals))


@given(rivals=st.lists(losses, max_size=40), mine=losses, gain=st.floats(0, 10), eta=etas)
def test_a_lower_loss_never_turns_continue_into_less(rivals: list[float], mine: float, gain: float, eta: int) -> None:
    for asha in (StoppingAsha((1, 3, 9), eta), PromotingAsha((1, 3, 9), eta)):
        before = asha.on_report(arrival(rivals, mine), log_of(rivals))
        after = asha.on_report(arrival(rivals, mine - gain), log_of(rivals))
        assert before.action is not Action.CONTINUE or after.action is Action.CONTINUE


@given(rivals=st.lists(losses, max_size=40), mine=losses, eta=etas)
def test_whoever_goes_on_is_among_the_best_share_of_its_rung(rivals: list[float], mine: float, eta: int) -> None:
    n = len(rivals) + 1
    ahead = sum(loss <= mine for loss in rivals)  # those with the same loss came first
    stop, promote = (
        kind((1, 3), eta).on_report(arrival(rivals, mine), log_of(rivals)).action
        for kind in (StoppingAsha, PromotingAsha)
    )
    assert (stop is Action.CONTINUE) == (ahead < max(1, n // eta))
    assert (promote is Action.CONTINUE) == (ahead < n // eta)


@given(rivals=st.lists(losses, max_size=40), eta=etas)
def test_the_promoted_trial_is_the_best_that_waits_and_among_the_best_share(rivals: list[float], eta: int) -> None:
    log = log_of(rivals)
    work = PromotingAsha((1, 3), eta).next_work(log, FREE)
    best = sorted(range(len(rivals)), key=lambda number: (rivals[number], number))[: len(rivals) // eta]
    assert work == (Promote(best[0], 0, 0, 3) if best else NewTrial())


@given(n=st.integers(1, 200), eta=etas, loss=losses)
def test_of_equal_losses_the_earliest_are_promoted(n: int, eta: int, loss: float) -> None:
    asha, log = PromotingAsha((1, 3), eta), log_of([loss] * n)
    promoted = []
    while isinstance(work := asha.next_work(log, FREE), Promote):
        promoted.append(work.trial)
        log.leave(0, work.rung, work.trial)
    assert promoted == list(range(n // eta))


def drive_of(seed: int) -> Drive:
    draw = random.Random(seed)
    eta, n_levels, stopping = draw.randint(2, 4), draw.randint(1, 4), draw.random() < 0.25
    levels, brackets = tuple(eta**k for k in range(n_levels)), draw.randint(1, n_levels)
    # In a bracket at the full resource nothing is promoted, so n_full has no hold of it.
    n_full = draw.choice([None, 1, 2, 5]) if brackets < n_levels else None
    return Drive(
        (StoppingAsha if stopping else PromotingAsha)(levels, eta, n_full, brackets=brackets, seed=seed),
        ReferenceAsha(levels, eta, brackets, n_full, stopping),
        seed,
        workers=draw.randint(1, 8),
        max_trials=draw.randint(1, 50),
        failing=draw.choice([0, 0, 0.1, 0.5]),
        cancelling=draw.choice([0, 0, 0.2]),
    )


@pytest.mark.parametrize("first", range(0, 2000, 250))
def test_every_answer_equals_the_references(first: int) -> None:
    for seed in range(first, first + 250):
        drive = drive_of(seed).run()
        assert drive.finished == "n_full" or drive.created == drive.max_trials


@pytest.mark.parametrize("seed", range(100))
def test_an_answer_depends_on_what_was_written_before_it_alone(seed: int) -> None:
    drive = drive_of(seed).run()
    assert answered_again(drive) == [answer for *_, answer in drive.asked]


@given(seed=st.integers(0, 10**6), workers=st.integers(1, 30), n_full=st.integers(1, 5), fails=st.booleans())
@settings(max_examples=100)
def test_exactly_n_full_trials_are_trained_whole(seed: int, workers: int, n_full: int, fails: bool) -> None:
    asha = PromotingAsha((1, 4, 16), 4, n_full)
    drive = Drive(asha, None, seed, workers=workers, max_trials=10_000, failing=0.1 * fails, losses=1000).run()
    assert (drive.finished, drive.complete) == ("n_full", n_full)
    assert not [trial for trial, (_, rung) in drive.training if rung == 2]


def test_no_work_is_given_out_while_all_that_are_wanted_are_on_their_way() -> None:
    asha, log = PromotingAsha((1, 4), 4, 1), log_of([0.0] * 8)
    log.leave(0, 0, 0)
    running = StudyView(created=8, max_trials=99, queued=0, running=1, complete=0)
    assert asha.next_work(log, running) == Wait()
    log.add(RungEntry(0, 0, 1, WORST, 8), waiting=False)
    assert asha.next_work(log, running) == Promote(1, 0, 0, 4)


def test_a_trial_that_left_without_a_trace_does_not_hold_up_a_study_in_which_nothing_runs() -> None:
    asha, log = PromotingAsha((1, 4), 4, 1), log_of([0.0] * 8)
    log.leave(0, 0, 0)
    assert asha.next_work(log, StudyView(created=8, max_trials=99, queued=0, running=0, complete=0)) == Promote(
        1, 0, 0, 4
    )


def test_brackets_are_drawn_in_hyperbands_proportions() -> None:
    asha = PromotingAsha((1, 3, 9, 27, 81), 3, brackets=5, seed=7)
    drawn = Counter(asha.bracket_of(number) for number in range(14_300))
    for bracket, trials in enumerate((81, 34, 15, 8, 5)):
        # Five standard deviations of a binomial count.
        assert abs(drawn[bracket] - 100 * trials) < 5 * (100 * trials * (1 - trials / 143)) ** 0.5
    assert [asha.ladder(bracket) for bracket in (0, 3, 4)] == [(1, 3, 9, 27, 81), (27, 81), (81,)]


def test_fewer_brackets_keep_their_proportions_and_the_seed_decides() -> None:
    asha = PromotingAsha((1, 3, 9, 27, 81), 3, brackets=2, seed=7)
    other = PromotingAsha((1, 3, 9, 27, 81), 3, brackets=2, seed=8)
    drawn = [asha.bracket_of(number) for number in range(1150)]
    assert abs(sum(drawn) - 340) < 5 * (340 * 81 / 115) ** 0.5
    assert drawn != [other.bracket_of(number) for number in range(1150)]


@pytest.mark.parametrize("brackets", [0, 4])
def test_there_are_no_more_brackets_than_rungs(brackets: int) -> None:
    with pytest.raises(ValueError, match="1 to 3 brackets"):
        PromotingAsha((1, 3, 9), 3, brackets=brackets)


@given(low=st.integers(1, 50), eta=st.integers(2, 10), power=st.integers(0, 12))
def test_a_ladder_of_whole_powers_has_every_rung(low: int, eta: int, power: int) -> None:
    levels = AshaSpec(min_resource=low, max_resource=min(low * eta**power, 10**9), reduction_factor=eta).levels
    assert all(upper == lower * eta for lower, upper in pairwise(levels[:-1]))
    if low * eta**power <= 10**9:
        assert levels == tuple(low * eta**k for k in range(power + 1))
    else:
        assert levels[-2] < 10**9 == levels[-1]
