"""Trials of earlier studies before the history of a new one, on its scale.

Losses of two studies cannot be compared, their ranks can: an earlier trial is kept as the quantile of its loss in its
own study, and shown to the sampler with the loss that has the same quantile among the new study's results.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hpo.domain.history import History, TrialRecord
from hpo.domain.trial import TrialState

ENOUGH = 4  # own results from which on the scale is the study's own


def quantiles(losses: Sequence[float]) -> list[float]:
    """Mid-rank of each loss among all, in (0, 1); equal losses share theirs."""
    ordered = np.sort(np.asarray(losses, dtype=float))
    below, upto = np.searchsorted(ordered, losses, "left"), np.searchsorted(ordered, losses, "right")
    return [float(rank) for rank in (below + upto) / (2 * len(ordered))]


class Earlier:
    """Earlier trials, whose losses are quantiles at a single resource, set before the own ones of a history."""

    def __init__(self, trials: Sequence[TrialRecord]) -> None:
        self._trials = tuple(trials)
        self._scale: tuple[float, ...] = ()
        self._scaled: list[TrialRecord] = list(trials)

    def before(self, history: History) -> History:
        """The earlier trials on the history's scale, then the history; the history itself if there are none."""
        if not self._trials:
            return history
        own = [record.loss for record in history if record.losses and math.isfinite(record.loss)]
        # The scale moves only when the results have doubled: a sampler need not convert all of them at every ask.
        size = 1 << (len(own).bit_length() - 1) if own else 0
        scale = tuple(own[:size]) if size >= ENOUGH else ()
        if scale != self._scale:
            self._scale = scale
            self._scaled = [self._shown(record, scale) for record in self._trials] if scale else list(self._trials)
        return [*self._scaled, *history]

    def _shown(self, record: TrialRecord, scale: tuple[float, ...]) -> TrialRecord:
        loss = float(np.quantile(scale, record.loss))
        return replace(record, losses=((record.losses[-1][0], loss),))


def earlier_trials(stored: Mapping[str, Any] | None) -> list[TrialRecord]:
    """The trials of a warm start as they are kept with the study: params, and the quantile of the loss."""
    if stored is None:
        return []
    trials = stored["trials"]
    return [
        TrialRecord(
            position - len(trials), one["params"], TrialState.COMPLETE, ((stored["resource"], one["quantile"]),)
        )
        for position, one in enumerate(trials)
    ]
