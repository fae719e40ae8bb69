"""Stop a trial that has ceased to improve: early stopping."""

from dataclasses import dataclass

from hpo.schedulers.base import Past, RungEntry, RungLog
from hpo.schedulers.rules.looks import looks


@dataclass(frozen=True, slots=True)
class PatienceRule:
    """Stop if the best of the last ``patience`` looks is not lower by more than ``min_delta`` than the best before.

    There must be a look before them, so the first that can stop a trial is its (patience + 1)-th.
    """

    levels: tuple[int, ...]
    patience: int
    min_delta: float = 0.0

    @property
    def enters_at_completion(self) -> bool:
        return False

    def score(self, loss: float, past: Past) -> float:
        return loss

    def stops(self, entry: RungEntry, past: Past, log: RungLog) -> bool:
        losses = looks(self.levels, past, entry.loss)
        before, window = losses[: -self.patience], losses[-self.patience :]
        return bool(before) and not min(before) - min(window) > self.min_delta

    def cutoff(self, bracket: int, rung: int, log: RungLog) -> float | None:
        return None  # each trial is measured by itself
