"""A rung log from which entries are taken back answers as one that they never came to."""

from hypothesis import given
from hypothesis import strategies as st

from hpo.schedulers.base import RungEntry
from hpo.schedulers.rung_log import MemoryRungLog

losses = st.lists(st.integers(0, 4), min_size=1, max_size=20)
chosen = st.sets(st.integers(0, 19))


def entries(values: list[int]) -> list[RungEntry]:
    return [RungEntry(trial, 0, 0, float(loss), seq=trial + 1) for trial, loss in enumerate(values)]


def answers(log: MemoryRungLog, size: int) -> list[object]:
    return [log.count(0, 0), log.best_waiting(0, 0), log.entries(0, 0), [log.kth(0, 0, k) for k in range(1, size + 2)]]


@given(values=losses, ended=chosen)
def test_what_was_taken_back_was_never_there(values: list[int], ended: set[int]) -> None:
    log, never = MemoryRungLog(), MemoryRungLog()
    for entry in entries(values):
        log.add(entry, waiting=entry.trial not in ended)
        if entry.trial not in ended:
            never.add(entry)
    for trial in sorted(ended & set(range(len(values)))):
        assert log.remove(0, 0, trial).trial == trial
    assert answers(log, len(values)) == answers(never, len(values))


@given(values=losses, left=chosen)
def test_who_left_and_waits_again_waits_as_if_it_had_stayed(values: list[int], left: set[int]) -> None:
    log, stayed = MemoryRungLog(entries(values)), MemoryRungLog(entries(values))
    gone = left & set(range(len(values)))
    for trial in gone:
        log.leave(0, 0, trial)
    for trial in gone:
        log.wait_again(0, 0, trial)
    assert answers(log, len(values)) == answers(stayed, len(values))
