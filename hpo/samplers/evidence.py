"""What a surrogate model learns from: a score for each trial, made of all its rungs."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from hpo.domain.history import TrialRecord
from hpo.samplers.cube import Matrix
from hpo.samplers.ladder import Scale, ladder_scores
from hpo.samplers.pareto import scalarised
from hpo.samplers.table import Table, Tier

Values = NDArray[np.float64]


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


def _cost(record: TrialRecord, kind: str | None) -> float:
    """Logarithm of the cost."""
    if kind is None:
        return 0.0
    reached = record.losses[-1][0] if record.losses else 1
    return log(max(record.seconds, 1e-9)) if kind == "seconds" else log(max(reached, 1))
