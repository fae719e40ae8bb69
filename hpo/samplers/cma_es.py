"""CMA-ES (Hansen and Ostermeier 2001) by the ``cmaes`` package, rebuilt from the history generation by generation."""

import copy
from collections.abc import Iterator, Sequence
from operator import is_

import numpy as np
from cmaes import CMA
from numpy.typing import NDArray

from hpo.domain.history import History, Params, RngKey, TrialRecord
from hpo.samplers.cube import Column, Cube, Matrix
from hpo.samplers.ladder import ordered
from hpo.samplers.table import Kind, Memory, Table
from hpo.space.space import Space, sample

Axes = NDArray[np.intp]
Told = tuple[Sequence[TrialRecord], CMA]


class CmaEs:
    """Adapts a normal distribution over the numerical parameters that are always active; the others are random.

    The trials after the first ``n_startup_trials``, in the order of their numbers, form generations. A generation is
    told once all its trials have a result or have ended; those without a result count as its worst. Until then
    proposals come from the distribution before it, so that workers never wait. Only ranks are told, by ``ladder.py``,
    so that trials at different rungs compare. The distribution begins at the best of the random trials and of earlier
    studies if there are several, else in the middle, and anew at a random point when it has collapsed.
    """

    def __init__(
        self, *, n_startup_trials: int, sigma: float, population_size: int | None, n_objectives: int = 1
    ) -> None:
        self._n_startup_trials = n_startup_trials
        self._sigma = sigma
        self._population_size = population_size
        self._memory = Memory(n_objectives)
        # Generations told last, each with the optimiser after it, so that an ask tells only what is new.
        self._beginning: object = None
        self._told: list[Told] = []

    def ask(self, space: Space, history: History, key: RngKey) -> Params:
        table = self._memory.table(space, history)
        rng = key.generator()
        axes = _axes(table.cube)
        if not len(axes) or table.n_results < self._n_startup_trials:
            return sample(space, rng)
        units = rng.random((1, table.cube.width))
        optimizer = copy.deepcopy(self._optimizer(table, axes, key.seed))
        optimizer.reseed_rng(int(rng.integers(2**32)))
        units[0, axes] = optimizer.ask()
        return table.cube.decode(table.cube.snap(units)[0])

    def _optimizer(self, table: Table, axes: Axes, seed: int) -> CMA:
        """The distribution after all generations that are whole."""
        own = [
            row for row, record in enumerate(table.records) if record.number >= 0 and table.kind(row) != Kind.FOREIGN
        ]
        units = table.cube.units(table.codes(range(len(table.records))))[:, axes]
        told = self._begin(table, _beginning(table, own[: self._n_startup_trials], units), seed=seed)
        for rows in _generations(table, own[self._n_startup_trials :], told[-1][1].population_size):
            index, records = len(told), [table.records[row] for row in rows]
            if index < len(self._told) and all(map(is_, self._told[index][0], records)):
                told.append(self._told[index])
                continue
            del self._told[index:]  # from here on nothing is as it was told before
            optimizer = copy.deepcopy(told[-1][1])
            points = units[_best_first(table, rows)]
            optimizer.tell([(point, float(place)) for place, point in enumerate(points)])
            if optimizer.should_stop():
                optimizer = self._fresh(np.random.default_rng([seed, index]).random(len(axes)))
            told.append((records, optimizer))
        self._told = told
        return told[-1][1]

    def _begin(self, table: Table, mean: Column, *, seed: int) -> list[Told]:
        beginning = (table, mean.tobytes(), seed)
        if self._beginning != beginning:
            self._beginning, self._told = beginning, [([], self._fresh(mean))]
        return self._told[:1]

    def _fresh(self, mean: Column) -> CMA:
        bounds = np.tile([0.0, 1.0], (len(mean), 1))
        return CMA(mean, self._sigma, bounds=bounds, population_size=self._population_size, seed=0)


def _axes(cube: Cube) -> Axes:
    free = [column for column in range(cube.width) if cube.searched[column] and cube.params[column].when is None]
    return np.array([column for column in free if not cube.unordered[column]], dtype=np.intp)


def _beginning(table: Table, startup: Sequence[int], units: Matrix) -> Column:
    random = set(startup)
    known = [row for row in table.results if row in random or table.records[row].number < 0]
    if len(known) < 2:
        return np.full(units.shape[1], 0.5)
    best: Column = units[ordered(table, known)[0]].copy()
    return best


def _generations(table: Table, own: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Whole generations, one after the other up to the first that is not."""
    for start in range(0, len(own) - size + 1, size):
        rows = own[start : start + size]
        if any(table.kind(row) is Kind.AWAITED for row in rows):
            return
        yield rows


def _best_first(table: Table, rows: Sequence[int]) -> list[int]:
    """Rows of one generation, those without a result last."""
    with_result = ordered(table, [row for row in rows if table.kind(row) is Kind.RESULT])
    return [*with_result, *(row for row in rows if table.kind(row) is not Kind.RESULT)]
