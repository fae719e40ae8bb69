from collections.abc import Iterable

import pytest

from hpo.schedulers.asha import PromotingAsha, StoppingAsha
from hpo.schedulers.base import Action, Decision, Finished, Key, NewTrial, Promote, RungEntry, StudyView, Wait
from hpo.schedulers.rung_log import MemoryRungLog

LEVELS = (1, 3, 9)


def log_of(losses: Iterable[float], rung: int = 0, first: int = 0) -> MemoryRungLog:
    return MemoryRungLog(RungEntry(first + i, 0, rung, loss, first + i) for i, loss in enumerate(losses))


def view(*, created: int = 0, running: int = 0, complete: int = 0) -> StudyView:
    return StudyView(created=created, max_trials=20, queued=0, running=running, complete=complete)


class CountingLog(MemoryRungLog):
    """Counts how often a rank is asked for: in SQL that is the costly question."""

    ranks_asked = 0

    def kth(self, bracket: int, rung: int, k: int) -> Key | None:
        self.ranks_asked += 1
        return super().kth(bracket, rung, k)


def test_promotion_waits_until_a_rung_has_reduction_factor_entries() -> None:
    asha = PromotingAsha(LEVELS, 3)
    assert asha.on_report(RungEntry(1, 0, 0, 0.1, 1), log_of([0.5])) == Decision(Action.PAUSE)
    assert asha.on_report(RungEntry(2, 0, 0, 0.1, 2), log_of([0.5, 0.6])) == Decision(Action.CONTINUE, 3)
    assert asha.on_report(RungEntry(2, 0, 0, 0.7, 2), log_of([0.5, 0.6])) == Decision(Action.PAUSE)


def test_stopping_lets_the_first_at_a_rung_go_on() -> None:
    asha = StoppingAsha(LEVELS, 3)
    assert asha.on_report(RungEntry(0, 0, 0, 9.0, 0), log_of([])) == Decision(Action.CONTINUE, 3)
    assert asha.on_report(RungEntry(1, 0, 0, 9.5, 1), log_of([9.0])) == Decision(Action.STOP)
    assert asha.on_report(RungEntry(1, 0, 0, 8.5, 1), log_of([9.0])) == Decision(Action.CONTINUE, 3)


def test_a_late_arrival_with_the_cut_off_loss_does_not_pass() -> None:
    losses = [0.1, 0.2, 0.3, 0.4, 0.5]
    for asha in (PromotingAsha(LEVELS, 3), StoppingAsha(LEVELS, 3)):
        assert asha.on_report(RungEntry(5, 0, 0, 0.2, 5), log_of(losses)).action is not Action.CONTINUE
        assert asha.on_report(RungEntry(5, 0, 0, 0.199, 5), log_of(losses)).action is Action.CONTINUE


def test_the_highest_rung_with_a_promotable_trial_goes_first() -> None:
    log = log_of([0.1, 0.2, 0.3])
    for entry in (RungEntry(number, 0, 1, 0.5 + number, number) for number in (7, 8, 9)):
        log.add(entry)
    assert PromotingAsha(LEVELS, 3).next_work(log, view(created=10)) == Promote(7, 0, 1, 9)
    log.leave(0, 1, 7)
    assert PromotingAsha(LEVELS, 3).next_work(log, view(created=10)) == Promote(0, 0, 0, 3)


def test_the_best_waiting_trial_is_not_promoted_from_outside_the_best_share() -> None:
    log = log_of([0.1, 0.2, 0.3])
    log.leave(0, 0, 0)
    assert PromotingAsha(LEVELS, 3).next_work(log, view(created=3)) == NewTrial()
    assert PromotingAsha(LEVELS, 3).next_work(log, view(created=20, running=1)) == Wait()
    assert PromotingAsha(LEVELS, 3).next_work(log, view(created=20)) == Finished("max_trials")


def test_a_paused_trial_is_promotable_again_when_the_rung_has_grown() -> None:
    log = log_of([0.1, 0.2, 0.3])
    log.leave(0, 0, 0)
    for number, loss in ((3, 0.9), (4, 0.8), (5, 0.7)):
        log.add(RungEntry(number, 0, 0, loss, number))
    assert PromotingAsha(LEVELS, 3).next_work(log, view(created=6)) == Promote(1, 0, 0, 3)


@pytest.mark.parametrize("kind", [PromotingAsha, StoppingAsha])
def test_enough_whole_trials_end_the_study_even_with_work_left(kind: type[PromotingAsha] | type[StoppingAsha]) -> None:
    asha, log = kind(LEVELS, 3, n_full=2), log_of([0.1, 0.2, 0.3])
    assert asha.next_work(log, view(created=5, running=3, complete=2)) == Finished("n_full")
    assert not isinstance(asha.next_work(log, view(created=5, running=3, complete=1)), Finished)


def test_no_rank_is_asked_for_where_nothing_can_be_promoted() -> None:
    asha, log = PromotingAsha(LEVELS, 3), CountingLog()
    log.add(RungEntry(0, 0, 0, 0.5, 0))
    log.add(RungEntry(1, 0, 0, 0.6, 1))
    for number in range(2, 9):
        log.add(RungEntry(number, 0, 1, 0.1, number), waiting=False)
    asha.next_work(log, view())
    asha.on_report(RungEntry(9, 0, 2, 0.5, 9), log)
    assert log.ranks_asked == 0
    log.add(RungEntry(10, 0, 0, 0.7, 10))
    asha.next_work(log, view())
    assert log.ranks_asked == 1
