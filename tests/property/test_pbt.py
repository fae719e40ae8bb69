"""Laws of population based training."""

import random

import pytest

from hpo.domain.merit import WORST
from hpo.schedulers.base import Action, Exploit, Finished, NewTrial, Promote, RungEntry, StudyView, Wait
from hpo.schedulers.pbt import Pbt
from hpo.schedulers.rung_log import MemoryRungLog
from tests.property.drive import Drive, answered_again
from tests.property.pbt_reference import ReferencePbt


def drive_of(seed: int) -> Drive:
    draw = random.Random(seed)
    n_levels, population, percent = draw.randint(1, 5), draw.randint(2, 12), draw.randint(1, 50)
    return Drive(
        Pbt(tuple(range(2, 2 * n_levels + 1, 2)), population, percent / 100, seed),
        ReferencePbt(n_levels, population, percent, seed),
        seed,
        workers=draw.randint(1, 14),
        max_trials=draw.randint(1, 20),
        failing=draw.choice([0, 0, 0.1, 0.5]),
        cancelling=draw.choice([0, 0, 0.2]),
    )


@pytest.mark.parametrize("first", range(0, 2000, 250))
def test_every_answer_equals_the_references(first: int) -> None:
    for seed in range(first, first + 250):
        drive = drive_of(seed).run()
        assert isinstance(drive.scheduler, Pbt)
        assert (drive.finished, drive.created) == ("max_trials", min(drive.max_trials, drive.scheduler.population_size))


@pytest.mark.parametrize("seed", range(40))
def test_an_answer_depends_on_what_was_written_before_it_alone(seed: int) -> None:
    drive = drive_of(seed).run()
    assert answered_again(drive) == [answer for *_, answer in drive.asked]


@pytest.mark.parametrize("seed", range(40))
def test_of_whom_none_ends_all_are_trained_whole_and_a_quantile_of_each_generation_exploits(seed: int) -> None:
    drive = Drive(Pbt((2, 4, 6), 12, 0.25, seed), None, seed, workers=5, max_trials=100).run()
    assert (drive.created, drive.complete) == (12, 12)
    for rung in (0, 1):
        ranked = drive.rungs.at((0, rung))
        works = [work for work in drive.promotions if work.rung == rung]
        assert [work.trial for work in works] == [*reversed(ranked[9:]), *ranked[:9]]
        assert all(work.exploit is not None and work.exploit.source in ranked[:3] for work in works[:3])
        assert all(work.exploit is None for work in works[3:])


def population(losses: list[float]) -> MemoryRungLog:
    return MemoryRungLog(RungEntry(trial, 0, 0, loss, trial) for trial, loss in enumerate(losses))


FULL = StudyView(created=4, max_trials=50, queued=0, running=0, complete=0)


def test_nobody_goes_on_before_the_last_has_come() -> None:
    pbt, log = Pbt((2, 4), 4, 0.25), population([1.0, 2.0, 3.0])
    one_runs = StudyView(created=4, max_trials=50, queued=0, running=1, complete=0)
    assert pbt.next_work(log, StudyView(created=3, max_trials=50, queued=0, running=0, complete=0)) == NewTrial()
    assert pbt.next_work(log, one_runs) == Wait()
    entry = RungEntry(3, 0, 0, 4.0, 3)
    assert pbt.on_report(entry, log).action is Action.PAUSE
    log.add(entry)
    assert pbt.next_work(log, FULL) == Promote(3, 0, 0, 4, Exploit(0))


def test_an_ended_member_neither_goes_on_nor_is_a_source() -> None:
    pbt, log = Pbt((2, 4), 4, 0.5, seed=1), population([1.0, 2.0])
    for trial in (2, 3):
        log.add(RungEntry(trial, 0, 0, WORST, trial), waiting=False)
    assert pbt.next_work(log, FULL) == Promote(1, 0, 0, 4, Exploit(0))
    log.leave(0, 0, 1)
    assert pbt.next_work(log, FULL) == Promote(0, 0, 0, 4)


def test_where_all_have_ended_the_study_ends() -> None:
    pbt, log = Pbt((2, 4), 4, 0.25), MemoryRungLog()
    for trial in range(4):
        log.add(RungEntry(trial, 0, 0, WORST, trial), waiting=False)
    assert pbt.next_work(log, FULL) == Finished("max_trials")


def test_the_quantile_is_counted_without_rounding_errors() -> None:
    # 0.29 * 100 is 28.999... in floats.
    drive = Drive(Pbt((1, 2), 100, 0.29), None, 0, workers=100, max_trials=100).run()
    assert sum(work.exploit is not None for work in drive.promotions) == 29


def test_a_population_that_may_grow_later_waits_for_its_new_members() -> None:
    pbt, log = Pbt((2, 4, 6), 4, 0.25), MemoryRungLog()
    for trial in range(2):
        log.add(RungEntry(trial, 0, 0, float(trial), trial), waiting=False)
        log.add(RungEntry(trial, 0, 1, float(trial), 2 + trial))
    two = StudyView(created=2, max_trials=2, queued=0, running=0, complete=0)
    assert pbt.next_work(log, two) == Promote(1, 0, 1, 6, Exploit(0))
    four = StudyView(created=4, max_trials=9, queued=0, running=2, complete=0)
    assert pbt.next_work(log, four) == Wait()
