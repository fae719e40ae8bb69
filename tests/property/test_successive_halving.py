"""Laws of synchronous successive halving."""

import random

import pytest

from hpo.domain.merit import WORST
from hpo.schedulers.base import Action, Decision, NewTrial, Promote, RungEntry, StudyView, Wait
from hpo.schedulers.rung_log import MemoryRungLog
from hpo.schedulers.successive_halving import SuccessiveHalving
from tests.property.drive import Drive, answered_again
from tests.property.halving_reference import ReferenceHalving


def drive_of(seed: int, *, checked: bool = True) -> Drive:
    draw = random.Random(seed)
    eta, n_levels = draw.randint(2, 4), draw.randint(1, 4)
    n_trials = draw.randint(1, 14)
    return Drive(
        SuccessiveHalving(tuple(eta**k for k in range(n_levels)), eta, n_trials),
        ReferenceHalving([(n_trials, n_levels)], eta) if checked else None,
        seed,
        workers=draw.randint(1, 8),
        max_trials=draw.randint(1, 30),
        failing=draw.choice([0, 0, 0.1, 0.5]),
        cancelling=draw.choice([0, 0, 0.2]),
    )


@pytest.mark.parametrize("first", range(0, 2000, 250))
def test_every_answer_equals_the_references(first: int) -> None:
    for seed in range(first, first + 250):
        drive = drive_of(seed).run()
        assert (drive.finished, drive.created) == ("max_trials", drive.max_trials)


@pytest.mark.parametrize("seed", range(40))
def test_a_rung_sends_no_more_than_its_share(seed: int) -> None:
    drive = drive_of(seed, checked=False).run()
    scheduler = drive.scheduler
    assert isinstance(scheduler, SuccessiveHalving)
    for (bracket, rung), promoted in drive.promoted.items():
        n = min(scheduler.n_trials, drive.max_trials - bracket * scheduler.n_trials)
        assert promoted <= max(1, n // scheduler.reduction_factor ** (rung + 1))


@pytest.mark.parametrize("seed", range(40))
def test_an_answer_depends_on_what_was_written_before_it_alone(seed: int) -> None:
    drive = drive_of(seed).run()
    assert answered_again(drive) == [answer for *_, answer in drive.asked]


def test_without_failures_each_bracket_narrows_down_by_the_reduction_factor() -> None:
    drive = Drive(SuccessiveHalving((1, 3, 9), 3, 9), None, 0, workers=5, max_trials=18).run()
    assert [drive.log.count(bracket, rung) for bracket in (0, 1) for rung in (0, 1, 2)] == [9, 3, 1] * 2
    assert drive.complete == 2


def test_of_equal_losses_the_earliest_are_promoted() -> None:
    drive = Drive(SuccessiveHalving((1, 3, 9), 3, 9), None, 3, workers=4, max_trials=9, losses=1).run()
    first = sorted((entry for entry, _ in drive.decisions if entry.rung == 0), key=lambda entry: entry.seq)
    second = {entry.trial for entry, _ in drive.decisions if entry.rung == 1}
    assert second == {entry.trial for entry in first[:3]}


def test_a_trial_that_cannot_come_back_is_stopped_at_once_and_the_last_to_come_goes_on_in_place() -> None:
    scheduler, log = SuccessiveHalving((1, 2), 2, 4), MemoryRungLog()
    for trial, (loss, action) in enumerate(
        [(5.0, Action.PAUSE), (4.0, Action.PAUSE), (6.0, Action.STOP), (1.0, Action.CONTINUE)]
    ):
        entry = RungEntry(trial, 0, 0, loss, trial)
        decision = scheduler.on_report(entry, log)
        assert decision == Decision(action, 2 if action is Action.CONTINUE else None)
        log.add(entry, waiting=action is Action.PAUSE)
    view = StudyView(created=4, max_trials=8, queued=0, running=1, complete=0)
    assert scheduler.next_work(log, view) == Promote(1, 0, 0, 2)
    log.leave(0, 0, 1)
    assert scheduler.next_work(log, view) == NewTrial()
    assert scheduler.cutoff(0, 0, log) == 4.0


def test_a_short_last_bracket_is_cut_when_no_more_of_its_trials_can_come() -> None:
    scheduler = SuccessiveHalving((1, 3), 3, 9)
    log = MemoryRungLog(RungEntry(trial, 0, 0, float(trial), trial) for trial in range(4))
    more = StudyView(created=4, max_trials=5, queued=0, running=0, complete=0)
    assert scheduler.next_work(log, more) == NewTrial()
    no_more = StudyView(created=4, max_trials=4, queued=0, running=0, complete=0)
    assert scheduler.next_work(log, no_more) == Promote(0, 0, 0, 3)


@pytest.mark.parametrize("seed", range(200))
def test_a_bracket_that_was_cut_short_goes_on_as_a_full_one_if_more_trials_are_allowed(seed: int) -> None:
    drive = drive_of(seed, checked=False).run()
    drive.max_trials += drive.draw.randint(1, 20)
    drive.finished = ""
    drive.run()
    scheduler = drive.scheduler
    assert isinstance(scheduler, SuccessiveHalving)
    assert drive.created == drive.max_trials
    reference = ReferenceHalving([(scheduler.n_trials, len(scheduler.levels))], scheduler.reduction_factor)
    for bracket, members in enumerate(reference.members(drive.created)):
        for rung in range(1, len(scheduler.levels)):
            best = drive.rungs.at((bracket, rung - 1))[: reference.share(len(members), rung)]
            assert set(best) & set(drive.rungs.alive((bracket, rung - 1))) <= set(drive.rungs.at((bracket, rung)))


def test_a_bracket_that_goes_on_waits_for_its_new_trials_before_it_cuts_a_rung_again() -> None:
    scheduler, log = SuccessiveHalving((1, 3, 9), 3, 9), MemoryRungLog()
    for trial in range(6):  # cut short at 6, of which 4 failed
        log.add(RungEntry(trial, 0, 0, float(trial) if trial < 2 else WORST, trial), waiting=False)
    for trial in range(2):
        log.add(RungEntry(trial, 0, 1, float(trial), 6 + trial))
    more = StudyView(created=9, max_trials=9, queued=0, running=3, complete=0)
    assert scheduler.next_work(log, more) == Wait()
    for trial in range(6, 9):
        log.add(RungEntry(trial, 0, 0, WORST, 2 + trial), waiting=False)
    assert scheduler.next_work(log, more) == Promote(0, 0, 1, 9)
