"""Trials of different rungs in one order: each rung orders anew those that reached it."""

from bisect import bisect_left
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from hpo.domain.history import TrialRecord
from hpo.samplers.table import Table, Tier

Values = NDArray[np.float64]
Scale = Callable[[Values], Values]
MAX_LEVELS = 16  # a rule may look at every epoch: beyond, neighbouring resources count as one rung


def best_rows(table: Table, n: int) -> list[int]:
    """The ``n`` best results, best first: by their rungs, or by fronts with several objectives.

    Of those that got no further than some rung only its ``n`` best are looked at, since no other can be among the best;
    scores are exchanged among these, so where rungs disagree the order may differ a little from that of all.
    """
    if table.n_objectives > 1:
        return table.best(n)
    return ordered(table, [row for level in table.levels() for row in level[:n]])[:n]


def ordered(table: Table, rows: Sequence[int]) -> list[int]:
    """Results with one objective, best first: feasible ones by ``ladder_scores``, then the others by ``Table.rank``."""
    sound = [row for row in rows if table.tier(row) <= Tier.PARTIAL]
    scores = ladder_scores([table.records[row] for row in sound], normal_scores)
    # Of equals the earlier one, as with a plain sort by loss.
    order = np.lexsort((np.array(sound, dtype=int), scores)).tolist()
    return [*(sound[index] for index in order), *sorted(set(rows).difference(sound), key=table.rank)]


def normal_scores(losses: Values) -> Values:
    """Normal quantiles of the ranks, ties sharing theirs (Gaussian copula, Salinas et al. 2020).

    Their distribution does not depend on the scale of the losses, and an outlier is no more than the last.
    """
    _, inverse, counts = np.unique(losses, return_inverse=True, return_counts=True)
    middles = np.cumsum(counts) - counts / 2
    found: Values = ndtri(middles / len(losses))[inverse]
    return found


def robust_scores(losses: Values) -> Values:
    """Distances from the median in units of the best one's, those on the worse side by their logarithm.

    The shape of the valley is kept for a smooth model, and what failed to train says little more than that it did.
    """
    middle = float(np.median(losses))
    distances = (losses - middle) / (middle - float(losses.min()) or 1.0)
    return np.where(distances > 0, np.log1p(np.maximum(distances, 0.0)), distances)


def ladder_scores(records: Sequence[TrialRecord], scale: Scale) -> Values:
    """One score for each trial from all its rungs; lower is better.

    The lowest rung orders all its trials. Each rung above orders its own trials anew: they exchange the scores that
    they hold among themselves by their losses there. So a score uses the highest rung that a trial reached, and the
    few that were promoted are not taken for average, as ranks within their rung would have it. A trial that begins at
    a higher rung (another bracket) gets the score of those with its loss there.
    """
    levels = _levels(records)
    scores = np.full(len(records), np.nan)
    for index, level in enumerate(levels):
        above = levels[index + 1] if index + 1 < len(levels) else None
        here = [(position, loss) for position, record in enumerate(records) if (loss := _loss_in(record, level, above))]
        members = np.array([position for position, _ in here], dtype=np.intp)
        losses = np.array([loss[0] for _, loss in here])
        known = ~np.isnan(scores[members])
        if known.any():
            held, order = np.sort(scores[members[known]]), np.argsort(losses[known], kind="stable")
            scores[members[known][order]] = held
            scores[members[~known]] = np.interp(losses[~known], losses[known][order], held)
        else:
            scores[members] = scale(losses)
    return scores


def _levels(records: Sequence[TrialRecord]) -> list[int]:
    """Resources that stand for rungs, rising; the highest are kept as they are."""
    found = sorted({resource for record in records for resource, _ in record.losses})
    return found[:: -(-len(found) // MAX_LEVELS)] if len(found) > MAX_LEVELS else found


def _loss_in(record: TrialRecord, level: int, above: int | None) -> tuple[float, ...]:
    """The newest loss at a resource of at least ``level`` and below ``above``, or nothing."""
    stop = len(record.losses) if above is None else bisect_left(record.losses, (above,))
    if stop and record.losses[stop - 1][0] >= level:
        return (record.losses[stop - 1][1],)
    return ()
