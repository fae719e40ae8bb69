"""Tree-structured Parzen estimators over a bounded part of the history: TPE, and BOHB on one rung of it."""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from hpo.domain.history import History, Params, RngKey, TrialRecord
from hpo.samplers.cube import Cube, Matrix
from hpo.samplers.optuna_adapter import distribution, n_good, parzen_ask
from hpo.samplers.pareto import best_first
from hpo.samplers.table import Memory, Table, Tier
from hpo.space.space import Space, sample

# TPE's good model is made of the best min(n / 10, 25) trials: with at least 250 in sight it is the same as with all.
BEST = 25
RECENT = 225
# BOHB's good model is made of the best 15 %, never of fewer than its min_points.
BOHB_GOOD = 0.15


class Tpe:
    """Tree-structured Parzen estimator (Bergstra et al. 2011), Optuna's estimator.

    An ask of Optuna's takes time in proportion to the trials: 44 ms with 5,000 trials of 8 parameters, under 3 ms here
    at any number (benchmarks/ask.py). TPE tells the best min(n / 10, 25) trials from the rest, and weights the rest
    the less the older they are. So it is shown the best ``BEST`` by its own order, the ``RECENT`` newest of the rest,
    and all that run without a result yet (constant liar). Up to ``BEST + RECENT`` results this is Optuna's answer;
    beyond, the model of the good is still the same, and the model of the rest forgets what had the least weight:
    weights fade out over the newest ``RECENT`` instead of over all.

    Parameters that are active together are drawn together (``multivariate``), from the trials in which they were
    active, as with Optuna's ``group``; those that depend on others after these. Infeasible trials come last in the
    order, and with several objectives it is the one of MOTPE (Ozaki et al. 2022).
    """

    def __init__(
        self, *, n_startup_trials: int, n_ei_candidates: int, multivariate: bool, n_objectives: int = 1
    ) -> None:
        self._n_startup_trials = n_startup_trials
        self._n_ei_candidates = n_ei_candidates
        self._multivariate = multivariate
        self._memory = Memory(n_objectives)

    def ask(self, space: Space, history: History, key: RngKey) -> Params:
        table = self._memory.table(space, history)
        if table.n_results < self._n_startup_trials:
            return sample(space, key.generator())
        best = table.best(BEST)
        shown = table.with_recent(best, RECENT)
        good = set(best[: n_good(len(shown))])
        rest = sorted([*(row for row in shown if row not in good), *table.awaited])
        groups = table.cube.groups()
        if not self._multivariate:
            groups = [[column] for group in groups for column in group]
        return drawn(
            table.cube,
            groups,
            table.codes(sorted(good)),
            table.codes(rest),
            n_candidates=self._n_ei_candidates,
            key=key,
        )


class Bohb:
    """TPE on the trials of one rung, the highest with enough entries (Falkner et al. 2018, arXiv:1807.01774).

    Below that many entries, and for a ``random_fraction`` of the trials, params are drawn at random. The model is
    Optuna's, shown the best and the newest entries of the rung as in ``Tpe``; running trials count as bad.
    """

    def __init__(
        self, *, min_points: int | None, random_fraction: float, n_ei_candidates: int, n_objectives: int = 1
    ) -> None:
        self._min_points = min_points
        self._random_fraction = random_fraction
        self._n_ei_candidates = n_ei_candidates
        self._memory = Memory(n_objectives)

    def ask(self, space: Space, history: History, key: RngKey) -> Params:
        table = self._memory.table(space, history)
        wanted = self._min_points or int(table.cube.searched.sum()) + 1
        rung = max((resource for resource, count in table.entries.items() if count >= wanted), default=None)
        rng = key.generator()
        if rung is None or rng.random() < self._random_fraction:
            return sample(space, rng)
        ranked = _ranked_at(table, rung)
        best = max(wanted, round(BOHB_GOOD * len(ranked)))
        good = ranked[: min(best, BEST, len(ranked) - 1)]
        rest = sorted([*sorted(ranked[len(good) :])[-RECENT:], *table.awaited])
        return drawn(
            table.cube,
            table.cube.groups(),
            table.codes(sorted(good)),
            table.codes(rest),
            n_candidates=self._n_ei_candidates,
            key=key,
        )


def drawn(
    cube: Cube, groups: Sequence[Sequence[int]], good: Matrix, rest: Matrix, *, n_candidates: int, key: RngKey
) -> Params:
    """Params by one Parzen model for each group of columns that are active, parents before what depends on them."""
    # RandomState takes 32 bits; a startup's stream is not touched here, so both may share the key.
    rng = np.random.RandomState(int(np.random.SeedSequence(key.entropy).generate_state(1)[0]))
    pending = {group[0]: group for group in groups}
    row = np.full(cube.width, np.nan)
    for column in range(cube.width):
        if not cube.searched[column] and cube.is_open(column, row):
            row[column] = 0.0  # its only value
        group = pending.get(column)
        if group is not None and cube.is_open(column, row):
            distributions = {cube.params[one].name: distribution(cube.params[one]) for one in group}
            row[group] = parzen_ask(
                distributions, _active(good, group), _active(rest, group), n_candidates=n_candidates, rng=rng
            )
    return cube.decode(row)


def _active(codes: Matrix, group: Sequence[int]) -> Matrix:
    chosen = codes[:, group]
    return chosen[~np.isnan(chosen).any(axis=1)]


def _ranked_at(table: Table, rung: int) -> list[int]:
    """Rows with a result at ``rung``, best first; diverged trials stand last at every rung."""
    rows = [row for row in table.results if table.tier(row) is Tier.DIVERGED or _loss_at(table.records[row], rung)]
    if table.n_objectives == 1:
        return sorted(rows, key=lambda row: _rank_at(table, row, rung))
    # Only the newest vector of a trial is known: it stands for the one at the rung.
    order = [row for row in rows if table.tier(row) <= Tier.PARTIAL]
    ranked = best_first(np.array([table.records[row].vector for row in order]), len(order)) if order else []
    behind = sorted((row for row in rows if table.tier(row) > Tier.PARTIAL), key=table.rank)
    return [*(order[index] for index in ranked), *behind]


def _rank_at(table: Table, row: int, rung: int) -> tuple[int, float, int]:
    record, tier = table.records[row], table.tier(row)
    if tier is Tier.DIVERGED:
        return (tier, 0.0, row)
    if tier is Tier.INFEASIBLE:
        return (tier, record.violation, row)
    return (Tier.COMPLETE, _loss_at(record, rung)[0], row)


def _loss_at(record: TrialRecord, rung: int) -> tuple[float, ...]:
    """The loss at the rung, or nothing."""
    at = bisect_left(record.losses, (rung,))
    return (record.losses[at][1],) if at < len(record.losses) and record.losses[at][0] == rung else ()
