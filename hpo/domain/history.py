"""What samplers and schedulers see of a study: plain values, the same in any process."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpo.domain.trial import TrialState

ParamValue = float | int | str | bool
Params = Mapping[str, ParamValue]


@dataclass(frozen=True, slots=True)
class RngKey:
    """Names one stream of random numbers: the study's seed and the trial's number."""

    seed: int
    number: int

    def generator(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.number])


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """A trial as of some event of its study.

    ``losses`` are the (resource, loss) pairs of the rungs reached, rising in resource, lower is better.
    A diverged trial keeps the rungs it had reached and has ``diverged`` set: it ranks below all others.
    """

    number: int
    params: Params
    state: TrialState
    losses: tuple[tuple[int, float], ...] = ()
    diverged: bool = False

    @property
    def loss(self) -> float:
        """The loss at the highest rung reached; infinite before the first rung and after divergence."""
        return self.losses[-1][1] if self.losses and not self.diverged else math.inf


# All trials with a smaller number than the one asked for, by number, with their results as of the cursor.
History = Sequence[TrialRecord]
