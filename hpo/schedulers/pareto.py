"""Rungs of several objectives: non-dominated rank, then crowding distance (NSGA-II, Deb et al. 2002), then arrival."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hpo.domain.dominance import crowding_distances, domination_ranks
from hpo.domain.merit import WORST
from hpo.schedulers.base import Key, RungEntry, RungLog, Standing


class ParetoLog:
    """A RungLog whose losses are positions: an entry's is its 0-based place in the order of its rung.

    Merits of infeasible trials are equal in all objectives and beyond those of the feasible ones, which dominate them.
    Ended trials keep the loss ``WORST`` and come last. Positions move as a rung fills up, so they compare entries of
    one rung at one moment. Orders are remembered: use one object while the log below only grows.
    """

    def __init__(self, log: RungLog) -> None:
        self._log = log
        self._orders: dict[tuple[int, int], list[RungEntry]] = {}

    def count(self, bracket: int, rung: int) -> int:
        return self._log.count(bracket, rung)

    def kth(self, bracket: int, rung: int, k: int) -> Key | None:
        if k < 1:
            raise ValueError(f"k counts from 1, got {k}")
        order = self._order(bracket, rung)
        return _placed(order[k - 1], k - 1).key if k <= len(order) else None

    def best_waiting(self, bracket: int, rung: int) -> RungEntry | None:
        if self._log.best_waiting(bracket, rung) is None:
            return None
        waiting = self._waiting(bracket, rung)
        at, entry = next((at, one) for at, one in enumerate(self._order(bracket, rung)) if one.trial in waiting)
        return _placed(entry, at)

    def entries(self, bracket: int, rung: int) -> list[Standing]:
        waiting = self._waiting(bracket, rung)
        return [Standing(_placed(one, at), one.trial in waiting) for at, one in enumerate(self._order(bracket, rung))]

    def placed(self, entry: RungEntry) -> RungEntry:
        """The arriving entry, its loss half a place before its position in the rung with itself: no loss equals it.

        So ``is_among_best`` answers exactly whether it is one of the best of them all.
        """
        there = [one.entry for one in self._log.entries(entry.bracket, entry.rung)]
        ahead = [one.seq for one in ordered([*there, entry])].index(entry.seq)
        return _placed(entry, ahead - 0.5)

    def _waiting(self, bracket: int, rung: int) -> set[int]:
        return {one.entry.trial for one in self._log.entries(bracket, rung) if one.waiting}

    def _order(self, bracket: int, rung: int) -> list[RungEntry]:
        known = self._orders.get((bracket, rung), [])
        if len(known) != self._log.count(bracket, rung):
            known = ordered([one.entry for one in self._log.entries(bracket, rung)])
            self._orders[bracket, rung] = known
        return known


def _placed(entry: RungEntry, position: float) -> RungEntry:
    return entry if entry.loss >= WORST else replace(entry, loss=float(position))


def ordered(entries: Sequence[RungEntry]) -> list[RungEntry]:
    """Best first, whatever the order given. Raises ValueError if their vectors differ in length."""
    by_arrival = sorted(entries, key=lambda one: one.seq)
    alive = [one for one in by_arrival if one.loss < WORST]
    ended = [one for one in by_arrival if one.loss >= WORST]
    if not alive:
        return ended
    values = np.array([one.vector for one in alive], dtype=np.float64)
    ranks = domination_ranks(values)
    # lexsort is stable: equal ones stay in the order of arrival.
    best_first = np.lexsort((-crowding_distances(values, ranks), ranks))
    return [alive[at] for at in best_first] + ended
