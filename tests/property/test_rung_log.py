"""The rung log in memory answers as a sorted list would."""

from hypothesis import given
from hypothesis import strategies as st

from hpo.schedulers.base import RungEntry, Standing
from hpo.schedulers.rung_log import MemoryRungLog

places = st.tuples(st.integers(0, 1), st.integers(0, 2))
arrivals = st.lists(st.tuples(places, st.sampled_from([0.0, 1.0, 2.5]) | st.floats(-5, 5), st.booleans()), max_size=60)


@given(arrivals=arrivals, left=st.sets(st.integers(0, 59)))
def test_all_answers_equal_those_of_a_sorted_list(
    arrivals: list[tuple[tuple[int, int], float, bool]], left: set[int]
) -> None:
    log = MemoryRungLog()
    entries = [RungEntry(seq, *place, loss, seq) for seq, (place, loss, _) in enumerate(arrivals)]
    waits = [waiting for _, _, waiting in arrivals]
    for entry, waiting in zip(entries, waits, strict=True):
        log.add(entry, waiting=waiting)
    for entry in entries:
        if waits[entry.seq] and entry.trial in left:
            log.leave(entry.bracket, entry.rung, entry.trial)
            waits[entry.seq] = False
    for bracket, rung in {(entry.bracket, entry.rung) for entry in entries} | {(1, 2)}:
        there = sorted((e for e in entries if (e.bracket, e.rung) == (bracket, rung)), key=lambda e: e.key)
        assert log.count(bracket, rung) == len(there)
        assert [log.kth(bracket, rung, k + 1) for k in range(len(there))] == [entry.key for entry in there]
        assert log.kth(bracket, rung, len(there) + 1) is None
        assert log.entries(bracket, rung) == [Standing(entry, waits[entry.seq]) for entry in there]
        assert log.best_waiting(bracket, rung) == next((entry for entry in there if waits[entry.seq]), None)
