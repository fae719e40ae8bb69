"""What a surrogate model learns from: a score for each trial, made of all its rungs."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from hpo.domain.history import TrialRecord
from hpo.samplers.cube import Matrix
from hpo.samplers.pareto import scalarised
from hpo.samplers.table import Table, Tier

Values = NDArray[np.float64]
Scale = Callable[[Values], Values]
MAX_LEVELS = 16  # a rule may look at every epoch: beyond, neighbouring resources count as one rung


@dataclass(frozen=True)
class Evidence:
    """Trials with a result, oldest first: ``codes`` [n, parameters]; the others [n].

    ``scores`` are losses on a scale of their own, lower is better. ``violations`` are 0 where all constraints are kept.
    ``awaited`` are the codes of trials without a result yet.
    """

    codes: Matrix
    scores: Values
    violations: Values
    costs: Values
    awaited: Matrix

    @property
    def incumbents(self) -> Matrix:
        """Codes, the best first, infeasible ones last."""
        return self.codes[np.lexsort((self.scores, self.violations))]


def gather(
    table: Table,
    rows: Sequence[int],
    *,
    scale: Scale,
    max_awaited: int,
    weights: Values | None = None,
    cost: str | None = None,
) -> Evidence:
    """Evidence of the rows given, with the newest awaited trials; ``scale`` turns losses of one rung into scores.

    With ``weights`` for several objectives the score is that of their scalarised losses. ``cost`` is ``"epochs"``,
    the resource reached, or ``"seconds"`` of training; None: 1 for all.
    """
    records = [table.records[row] for row in rows]
    violations = np.array([record.violation for record in records])
    diverged = np.array([table.tier(row) is Tier.DIVERGED for row in rows])
    scores = np.empty(len(rows))
    sound = np.flatnonzero(~diverged)
    if len(sound):
        chosen = [records[position] for position in sound]
        if violations[sound].all():  # nothing is feasible yet: what is missed by least comes first
            scores[sound] = scale(violations[sound])
        elif weights is None:
            scores[sound] = ladder_scores(chosen, scale)
        else:
            scores[sound] = scale(scalarised(np.array([record.vector for record in chosen]), weights))
    scores[diverged] = scores[sound].max() if len(sound) else 0.0
    return Evidence(
        table.codes(rows),
        scores,
        violations,
        np.array([_cost(record, cost) for record in records]),
        table.codes(table.awaited[len(table.awaited) - min(max_awaited, len(table.awaited)) :]),
    )


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


def _cost(record: TrialRecord, kind: str | None) -> float:
    """Logarithm of the cost."""
    if kind is None:
        return 0.0
    reached = record.losses[-1][0] if record.losses else 1
    return log(max(record.seconds, 1e-9)) if kind == "seconds" else log(max(reached, 1))
