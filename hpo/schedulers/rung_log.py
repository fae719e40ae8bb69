"""The rung log in memory: what the simulator, the replay and the tests put before a scheduler."""

from bisect import bisect_left, insort
from collections.abc import Iterable

from hpo.schedulers.base import Key, RungEntry, Standing


class MemoryRungLog:
    """Sorted lists, one per rung; an insertion is a bisection and a memory move."""

    def __init__(self, entries: Iterable[RungEntry] = ()) -> None:
        """Every entry counts as paused at its rung until ``leave`` is called for it."""
        self._keys: dict[tuple[int, int], list[Key]] = {}
        self._waiting: dict[tuple[int, int], list[tuple[Key, RungEntry]]] = {}
        self._entries: dict[tuple[int, int], dict[int, RungEntry]] = {}  # by trial
        for entry in entries:
            self.add(entry)

    def add(self, entry: RungEntry, *, waiting: bool = True) -> None:
        """Record an arrival. Raises ValueError if the trial has been at this rung before.

        ``waiting`` is False for a trial that goes on in place or has ended there.
        """
        place = (entry.bracket, entry.rung)
        here = self._entries.setdefault(place, {})
        if entry.trial in here:
            raise ValueError(f"trial {entry.trial} is already at rung {entry.rung} of bracket {entry.bracket}")
        here[entry.trial] = entry
        insort(self._keys.setdefault(place, []), entry.key)
        if waiting:
            # Keys are distinct within a rung (seq is), so the entry itself is never compared.
            insort(self._waiting.setdefault(place, []), (entry.key, entry), key=lambda pair: pair[0])

    def leave(self, bracket: int, rung: int, trial: int) -> None:
        """The trial waits here no longer (promoted or ended); its entry stays. Raises KeyError if it did not wait."""
        entry = self._entries[bracket, rung][trial]
        waiting = self._waiting.get((bracket, rung), [])
        at = bisect_left(waiting, entry.key, key=lambda pair: pair[0])
        if at == len(waiting) or waiting[at][1] is not entry:
            raise KeyError(f"trial {trial} does not wait at rung {rung} of bracket {bracket}")
        del waiting[at]

    def wait_again(self, bracket: int, rung: int, trial: int) -> None:
        """The trial waits here as it did before. Raises KeyError if it has no entry here or waits already."""
        entry = self._entries[bracket, rung][trial]
        waiting = self._waiting.setdefault((bracket, rung), [])
        at = bisect_left(waiting, entry.key, key=lambda pair: pair[0])
        if at < len(waiting) and waiting[at][1] is entry:
            raise KeyError(f"trial {trial} waits at rung {rung} of bracket {bracket} already")
        waiting.insert(at, (entry.key, entry))

    def remove(self, bracket: int, rung: int, trial: int) -> RungEntry:
        """Take back the entry of a trial that does not wait, as if it had never come. Raises KeyError without one."""
        entry = self._entries[bracket, rung].pop(trial)
        keys = self._keys[bracket, rung]
        del keys[bisect_left(keys, entry.key)]
        return entry

    def count(self, bracket: int, rung: int) -> int:
        return len(self._keys.get((bracket, rung), ()))

    def kth(self, bracket: int, rung: int, k: int) -> Key | None:
        if k < 1:
            raise ValueError(f"k counts from 1, got {k}")
        keys = self._keys.get((bracket, rung), [])
        return keys[k - 1] if k <= len(keys) else None

    def best_waiting(self, bracket: int, rung: int) -> RungEntry | None:
        waiting = self._waiting.get((bracket, rung))
        return waiting[0][1] if waiting else None

    def entries(self, bracket: int, rung: int) -> list[Standing]:
        """See ``RungLog.entries``. Linear in the rung."""
        here = {entry.seq: entry for entry in self._entries.get((bracket, rung), {}).values()}
        waiting = {key.seq for key, _ in self._waiting.get((bracket, rung), ())}
        return [Standing(here[key.seq], key.seq in waiting) for key in self._keys.get((bracket, rung), ())]
