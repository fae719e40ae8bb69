"""Genetic search: NSGA-II (Deb et al. 2002) and NSGA-III (Deb and Jain 2014), a child at a time."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpo.domain.dominance import crowding_distances
from hpo.domain.history import History, Params, RngKey
from hpo.samplers.cube import Column, Matrix
from hpo.samplers.ladder import best_rows
from hpo.samplers.optuna_adapter import front_ranks, niche_survivors, sbx_child
from hpo.samplers.table import Memory, Table
from hpo.space.space import Space, sample

Merits = NDArray[np.float64]  # [n, 2]: a rank, lower is better, and what decides between equals, higher is better
ETA = 20.0  # distribution index of the crossover: how near a child stays to its parents
ETA_SINGLE = 2.0
DIVISIONS = 3  # of each axis between the reference points of NSGA-III


class Genetic:
    """Children of the ``population_size`` best trials so far, which may have come in any order (steady state).

    The first ``population_size`` trials are random. Parents win binary tournaments by constraint violation, rung,
    non-dominated front, then crowding (NSGA-II) or niche (NSGA-III); with one objective by the order of ``best_rows``.
    Numbers cross by simulated binary crossover, choices come from either parent, and what mutates is drawn anew.
    """

    def __init__(
        self,
        *,
        algorithm: Literal["nsga2", "nsga3"],
        population_size: int,
        crossover_prob: float,
        mutation_prob: float | None,
        n_objectives: int = 1,
    ) -> None:
        self._algorithm = algorithm
        self._population_size = population_size
        self._crossover_prob = crossover_prob
        self._mutation_prob = mutation_prob
        self._n_objectives = n_objectives
        self._memory = Memory(n_objectives)

    def ask(self, space: Space, history: History, key: RngKey) -> Params:
        table = self._memory.table(space, history)
        rng = key.generator()
        if table.n_results < self._population_size or not table.cube.searched.any():
            return sample(space, rng)
        parents, merits = self._parents(table, key)
        chosen = [_tournament(merits, rng) for _ in range(2)]
        units = table.cube.units(table.codes([parents[index] for index in chosen]))
        unknown = np.isnan(units)
        units[unknown] = rng.random(int(unknown.sum()))
        child = self._crossed(units, table.cube.unordered, rng) if rng.random() < self._crossover_prob else units[0]
        searched = table.cube.searched
        share = 1 / int(searched.sum()) if self._mutation_prob is None else self._mutation_prob
        mutates = rng.random(len(child)) < share
        child = np.where(mutates, rng.random(len(child)), child)
        return table.cube.decode(table.cube.snap(child[None, :])[0])

    def _crossed(self, units: Matrix, unordered: NDArray[np.bool_], rng: np.random.Generator) -> Column:
        eta = ETA_SINGLE if self._n_objectives == 1 else ETA
        blended = sbx_child(units, eta=eta, rng=np.random.RandomState(int(rng.integers(2**32))))
        either = np.where(rng.random(len(blended)) < 0.5, units[0], units[1])
        return np.where(unordered, either, np.clip(blended, 0.0, 1.0))

    def _parents(self, table: Table, key: RngKey) -> tuple[list[int], Merits]:
        """Rows of the population, and their merits."""
        size = self._population_size
        if self._n_objectives == 1:
            best = best_rows(table, size)
            return best, np.column_stack([np.arange(len(best)), np.zeros(len(best))])
        rows: list[int] = []
        merits: list[Merits] = []
        for level in table.levels():
            for front in _fronts(table, level, size - len(rows)):
                kept = self._survivors(table, rows, front, size - len(rows), key=key)
                merits.append(np.column_stack([np.full(len(kept), len(merits)), self._spread(table, kept)]))
                rows = [*rows, *kept]
                if len(rows) == size:
                    return rows, np.concatenate(merits)
        return rows, np.concatenate(merits)

    def _survivors(
        self, table: Table, chosen: Sequence[int], front: Sequence[int], room: int, *, key: RngKey
    ) -> list[int]:
        if len(front) <= room:
            return list(front)
        if self._algorithm == "nsga2" or not table.has_fronts(front):
            order = np.argsort(-self._spread(table, front), kind="stable")
            return [front[index] for index in order[:room].tolist()]
        # The draw of niches belongs to the state of the population and not to the trial that is asked for.
        rng = np.random.RandomState(int(np.random.SeedSequence([key.seed, len(table.results)]).generate_state(1)[0]))
        kept = [row for row in chosen if table.has_fronts([row])]
        places = niche_survivors(table.vectors(kept), table.vectors(front), room, divisions=DIVISIONS, rng=rng)
        return [front[place] for place in places]

    def _spread(self, table: Table, front: Sequence[int]) -> NDArray[np.float64]:
        if self._algorithm == "nsga3" or not table.has_fronts(front):
            return np.zeros(len(front))
        return crowding_distances(table.vectors(front), np.zeros(len(front), dtype=np.intp))


def _fronts(table: Table, level: Sequence[int], n: int) -> list[list[int]]:
    """The fronts of one level that hold its best ``n``, best first; infeasible trials make a front each."""
    if not table.has_fronts(level):
        return [[row] for row in level[:n]]
    ranks = front_ranks(table.vectors(level), n)
    fronts = [[level[index] for index in np.flatnonzero(ranks == rank).tolist()] for rank in np.unique(ranks)]
    sizes = np.cumsum([len(front) for front in fronts])
    return fronts[: int(np.searchsorted(sizes, n)) + 1]


def _tournament(merits: Merits, rng: np.random.Generator) -> int:
    """The better of two at random."""
    one, other = (int(index) for index in rng.integers(len(merits), size=2))
    return one if (merits[one, 0], -merits[one, 1]) <= (merits[other, 0], -merits[other, 1]) else other
