"""What every scheduler must keep, whatever it decides."""

from collections.abc import Callable

import pytest

from hpo.schedulers.asha import PromotingAsha, StoppingAsha
from hpo.schedulers.base import Action, Finished, NewTrial, Promote, RungEntry, Scheduler, StudyView, Wait
from hpo.schedulers.fifo import Fifo
from hpo.schedulers.rung_log import MemoryRungLog

MAKERS: dict[str, Callable[[], Scheduler]] = {
    "fifo": lambda: Fifo(9),
    "asha promote": lambda: PromotingAsha((1, 3, 9), 3),
    "asha stop": lambda: StoppingAsha((1, 3, 9), 3),
    "asha of one level": lambda: PromotingAsha((9,), 3),
}


@pytest.fixture(params=MAKERS)
def scheduler(request: pytest.FixtureRequest) -> Scheduler:
    return MAKERS[request.param]()


def view(*, created: int = 0, queued: int = 0, running: int = 0, complete: int = 0) -> StudyView:
    return StudyView(created=created, max_trials=10, queued=queued, running=running, complete=complete)


def test_levels_rise_to_the_full_resource(scheduler: Scheduler) -> None:
    assert list(scheduler.levels) == sorted(set(scheduler.levels))
    assert scheduler.levels[-1] == 9


def test_an_empty_study_starts_a_trial_towards_the_first_level(scheduler: Scheduler) -> None:
    assert scheduler.next_work(MemoryRungLog(), view()) == NewTrial(scheduler.levels[0])


def test_no_trial_is_created_beyond_the_most_allowed(scheduler: Scheduler) -> None:
    assert scheduler.next_work(MemoryRungLog(), view(created=10, running=1)) == Wait()
    assert scheduler.next_work(MemoryRungLog(), view(created=10, queued=1)) == Wait()
    assert scheduler.next_work(MemoryRungLog(), view(created=10)) == Finished("max_trials")


def test_the_last_level_completes_even_the_worst_trial(scheduler: Scheduler) -> None:
    last = len(scheduler.levels) - 1
    log = MemoryRungLog(RungEntry(number, 0, last, float(number), number) for number in range(20))
    assert scheduler.on_report(RungEntry(20, 0, last, 1e9, 20), log).action is Action.COMPLETE


def test_a_target_comes_with_continue_only_and_is_the_next_level(scheduler: Scheduler) -> None:
    for rung in range(len(scheduler.levels)):
        log = MemoryRungLog()
        for number, loss in enumerate([5.0, 4.0, 3.0, 9.0, 1.0, 1.0, 0.0]):
            entry = RungEntry(number, 0, rung, loss, number)
            decision = scheduler.on_report(entry, log)
            log.add(entry, waiting=decision.action is Action.PAUSE)
            wanted = scheduler.levels[rung + 1] if decision.action is Action.CONTINUE else None
            assert decision.target == wanted


def test_asking_twice_gives_the_same_answer(scheduler: Scheduler) -> None:
    log = MemoryRungLog(RungEntry(number, 0, 0, -float(number), number) for number in range(7))
    entry = RungEntry(7, 0, 0, -3.0, 7)
    assert scheduler.on_report(entry, log) == scheduler.on_report(entry, log)
    assert scheduler.next_work(log, view(created=8)) == scheduler.next_work(log, view(created=8))


def test_only_a_trial_that_waits_is_promoted(scheduler: Scheduler) -> None:
    log = MemoryRungLog()
    for number in range(9):
        log.add(RungEntry(number, 0, 0, float(number), number), waiting=False)
    assert not isinstance(scheduler.next_work(log, view()), Promote)
