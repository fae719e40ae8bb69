"""The history of a study as columns of numbers, kept in step with a growing history at the cost of what changed."""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from itertools import compress, islice
from operator import is_not

import numpy as np
from numpy.typing import NDArray

from hpo.domain.history import History, TrialRecord
from hpo.domain.trial import TrialState
from hpo.samplers.cube import Cube, Matrix
from hpo.samplers.pareto import best_first
from hpo.space.space import Space


class Kind(IntEnum):
    FOREIGN = -1  # no point of the space as it is now
    NOTHING = 0  # failed, cancelled, or ended without a result
    AWAITED = 1  # its first result is yet to come: business of a constant liar
    RESULT = 2


class Tier(IntEnum):
    """What counts before any loss, best first."""

    COMPLETE = 0
    PARTIAL = 1
    INFEASIBLE = 2
    DIVERGED = 3


Rank = tuple[int, float, float, int]


class Table:
    """One study's trials over one space, one row each in the order of the history.

    Results stand in levels, as TPE orders them: complete trials, then the others by the resource reached, each by loss
    or by fronts; then infeasible ones by what they miss (feasible first, Deb 2000), then diverged ones.
    Not thread-safe.
    """

    def __init__(self, space: Space, n_objectives: int = 1) -> None:
        self.cube = Cube(space)
        self.n_objectives = n_objectives
        self.records: list[TrialRecord] = []
        self.entries: Counter[int] = Counter()  # results by resource
        self._codes: Matrix = np.empty((64, self.cube.width))
        self._kinds: list[Kind] = []
        self._ranked: list[tuple[Rank, int]] = []
        self._results: list[int] = []
        self._awaited: list[int] = []
        self._known: Counter[bytes] = Counter()

    def sync(self, history: History) -> None:
        """Convert what differs from the history of the last call; records are frozen, so identity tells."""
        for position in range(len(history), len(self.records)):
            self._forget(position)
        del self.records[len(history) :], self._kinds[len(history) :]
        for position in list(compress(range(len(self.records)), map(is_not, history, self.records))):
            self._forget(position)
            self.records[position] = history[position]
            self._kinds[position] = self._learn(position)
        while len(self._codes) < len(history):
            self._codes = np.concatenate([self._codes, np.empty_like(self._codes)])
        for position in range(len(self.records), len(history)):
            self.records.append(history[position])
            self._kinds.append(self._learn(position))

    @property
    def n_results(self) -> int:
        """Number of trials that tell something about their params."""
        return len(self._results)

    @property
    def results(self) -> list[int]:
        """Rows with a result, in the order of the history."""
        return self._results

    @property
    def awaited(self) -> list[int]:
        """Rows whose first result is yet to come, in the order of the history."""
        return self._awaited

    def codes(self, rows: Iterable[int]) -> Matrix:
        return self._codes[np.fromiter(rows, dtype=np.intp)]

    def seen(self, codes: NDArray[np.float64]) -> bool:
        """Whether some trial has or had this configuration."""
        return self._known[_name(codes)] > 0

    def best(self, n: int) -> list[int]:
        """The ``n`` best results, best first."""
        if self.n_objectives == 1:
            return [row for _, row in self._ranked[:n]]
        found: list[int] = []
        for rows in self.levels():
            room = n - len(found)
            if self.has_fronts(rows):
                rows = [rows[index] for index in best_first(self.vectors(rows), room)]
            found.extend(rows[:room])
            if len(found) == n:
                break
        return found

    def levels(self) -> Iterator[list[int]]:
        """Results of the same tier and resource, the best such level first; within it in the order of ``rank``."""
        start = 0
        while start < len(self._ranked):
            level = self._ranked[start][0][:2]
            stop = bisect_left(self._ranked, ((*level, np.inf, 0), 0))
            yield [row for _, row in self._ranked[start:stop]]
            start = stop

    def has_fronts(self, rows: Sequence[int]) -> bool:
        """Whether rows of one level are told apart by their losses, and not by a violation or at all."""
        return self.tier(rows[0]) in (Tier.COMPLETE, Tier.PARTIAL)

    def vectors(self, rows: Sequence[int]) -> Matrix:
        """Losses of all objectives, [rows, objectives]."""
        return np.array([self.records[row].vector for row in rows], dtype=float).reshape(len(rows), self.n_objectives)

    def kind(self, row: int) -> Kind:
        return self._kinds[row]

    def with_recent(self, rows: Sequence[int], recent: int) -> list[int]:
        """The results given and the ``recent`` newest others, in the order of the history."""
        chosen = set(rows)
        newest = (row for row in reversed(self._results) if row not in chosen)
        return sorted([*chosen, *islice(newest, recent)])

    def tier(self, row: int) -> Tier:
        record = self.records[row]
        if record.diverged:
            return Tier.DIVERGED
        if not record.feasible:
            return Tier.INFEASIBLE
        return Tier.COMPLETE if record.state is TrialState.COMPLETE else Tier.PARTIAL

    def rank(self, row: int) -> Rank:
        """Sorts results best first; with several objectives within the tier and resource by the first of them."""
        record, tier = self.records[row], self.tier(row)
        if tier is Tier.DIVERGED:
            return (tier, 0, 0.0, record.number)
        if tier is Tier.INFEASIBLE:
            return (tier, 0, record.violation, record.number)
        reached, loss = record.losses[-1]
        return (tier, 0 if tier is Tier.COMPLETE else -reached, loss, record.number)

    def _learn(self, row: int) -> Kind:
        record = self.records[row]
        codes = self.cube.row(record.params)
        if codes is None:
            self._codes[row] = np.nan
            return Kind.FOREIGN
        self._codes[row] = codes
        self._known[_name(self._codes[row])] += 1
        kind = _kind(record, self.n_objectives)
        if kind is Kind.AWAITED:
            insort(self._awaited, row)
        elif kind is Kind.RESULT:
            insort(self._results, row)
            insort(self._ranked, (self.rank(row), row))
            self.entries.update(resource for resource, _ in record.losses)
        return kind

    def _forget(self, row: int) -> None:
        kind, record = self._kinds[row], self.records[row]
        if kind is not Kind.FOREIGN:
            self._known[_name(self._codes[row])] -= 1
        if kind is Kind.AWAITED:
            del self._awaited[bisect_left(self._awaited, row)]
        elif kind is Kind.RESULT:
            del self._results[bisect_left(self._results, row)]
            del self._ranked[bisect_left(self._ranked, (self.rank(row), row))]
            self.entries.subtract(resource for resource, _ in record.losses)


class Memory:
    """The table of the space and history that were last asked about. It spares conversions and changes no answer."""

    def __init__(self, n_objectives: int = 1) -> None:
        self._n_objectives = n_objectives
        self._space: Space | None = None
        self._table: Table | None = None

    def table(self, space: Space, history: History) -> Table:
        if self._table is None or space is not self._space:
            self._space, self._table = space, Table(space, self._n_objectives)
        self._table.sync(history)
        return self._table


def _kind(record: TrialRecord, n_objectives: int) -> Kind:
    if record.diverged:
        return Kind.RESULT
    if record.state in (TrialState.FAILED, TrialState.CANCELLED):
        return Kind.NOTHING
    if record.losses:
        measured = n_objectives == 1 or len(record.vector) == n_objectives
        return Kind.RESULT if measured else Kind.NOTHING
    # An ended trial without a result tells nothing.
    return Kind.AWAITED if record.state in (TrialState.QUEUED, TrialState.RUNNING) else Kind.NOTHING


def _name(codes: NDArray[np.float64]) -> bytes:
    return (codes + 0.0).tobytes()  # -0.0 and 0.0 are one value
