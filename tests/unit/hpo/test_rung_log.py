import pytest

from hpo.schedulers.base import RungEntry
from hpo.schedulers.rung_log import MemoryRungLog


def test_a_trial_arrives_at_a_rung_once() -> None:
    log = MemoryRungLog([RungEntry(1, 0, 0, 0.5, 1)])
    with pytest.raises(ValueError, match="trial 1 is already at rung 0"):
        log.add(RungEntry(1, 0, 0, 0.4, 2))


def test_leaving_needs_a_trial_that_waits() -> None:
    log = MemoryRungLog([RungEntry(1, 0, 0, 0.5, 1)])
    log.add(RungEntry(2, 0, 0, 0.5, 2), waiting=False)
    log.leave(0, 0, 1)
    for trial in (1, 2, 3):
        with pytest.raises(KeyError):
            log.leave(0, 0, trial)


def test_an_entry_stays_when_its_trial_has_left() -> None:
    log = MemoryRungLog([RungEntry(1, 0, 0, 0.5, 1)])
    log.leave(0, 0, 1)
    assert log.count(0, 0) == 1
    assert log.kth(0, 0, 1) == (0.5, 1)
    assert log.best_waiting(0, 0) is None


def test_ranks_count_from_one() -> None:
    with pytest.raises(ValueError, match="got 0"):
        MemoryRungLog().kth(0, 0, 0)


def test_brackets_and_rungs_are_apart() -> None:
    log = MemoryRungLog([RungEntry(1, 0, 0, 0.5, 1), RungEntry(1, 0, 1, 0.4, 2), RungEntry(2, 1, 0, 0.3, 3)])
    assert [log.count(bracket, rung) for bracket, rung in ((0, 0), (0, 1), (1, 0), (1, 1))] == [1, 1, 1, 0]
    assert log.best_waiting(0, 1) == RungEntry(1, 0, 1, 0.4, 2)
