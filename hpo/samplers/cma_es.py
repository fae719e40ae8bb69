"""CMA-ES (Hansen and Ostermeier 2001) by the ``cmaes`` package, rebuilt from the history generation by generation."""

import copy
from collections.abc import Iterator, Sequence

import numpy as np
from cmaes import CMA
from numpy.typing import NDArray

from hpo.domain.history import History, Params, RngKey
from hpo.samplers.cube import Column, Cube, Matrix
from hpo.samplers.ladder import ordered
from hpo.samplers.table import Kind, Memory, Table
from hpo.space.space import Space, sample

Axes = NDArray[np.intp]
Generation = tuple[int, ...]  # rows of the table, the best first


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
        # What was told last, each with the optimiser after it, so that an ask tells only what is new.
        self._told: list[tuple[bytes, CMA]] = []

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
        told = self._begin(_beginning(table, own[: self._n_startup_trials], units), seed=seed)
        for generation in _generations(table, own[self._n_startup_trials :], told[-1][1].population_size):
            points = units[list(generation)]
            index, optimizer = len(told), copy.deepcopy(told[-1][1])
            if index < len(self._told) and self._told[index][0] == points.tobytes():
                told.append(self._told[index])
                continue
            del self._told[index:]  # from here on nothing is as it was told before
            optimizer.tell([(point, float(place)) for place, point in enumerate(points)])
            if optimizer.should_stop():
                optimizer = self._fresh(np.random.default_rng([seed, index]).random(len(axes)))
            told.append((points.tobytes(), optimizer))
        self._told = told
        return told[-1][1]

    def _begin(self, mean: Column, *, seed: int) -> list[tuple[bytes, CMA]]:
        state = mean.tobytes() + seed.to_bytes(8, "big")
        if self._told and self._told[0][0] == state:
            return self._told[:1]
        self._told = []
        return [(state, self._fresh(mean))]

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


def _generations(table: Table, own: Sequence[int], size: int) -> Iterator[Generation]:
    """Whole generations, one after the other up to the first that is not."""
    for start in range(0, len(own) - size + 1, size):
        rows = own[start : start + size]
        if any(table.kind(row) is Kind.AWAITED for row in rows):
            return
        with_result = ordered(table, [row for row in rows if table.kind(row) is Kind.RESULT])
        yield (*with_result, *(row for row in rows if table.kind(row) is not Kind.RESULT))
