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
    """Names one stream of random numbers: the study's seed, the trial's number, and how often it was asked before.

    A proposal that breaks a rule of the space or was trained already is asked for again with the next ``attempt``.
    """

    seed: int
    number: int
    attempt: int = 0

    @property
    def entropy(self) -> list[int]:
        return [self.seed, self.number] + ([self.attempt] if self.attempt else [])

    def generator(self) -> np.random.Generator:
        return np.random.default_rng(self.entropy)


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """A trial as of some event of its study.

    ``losses`` are the (resource, loss) pairs of the stops reached, rising in resource, lower is better: the first
    objective's loss where there are several. ``vector`` holds the losses of all objectives at the newest stop where
    there are several, else it is empty. ``violation`` is the sum by which outcome constraints are missed there: 0 is
    feasible. ``seconds`` of training were reported so far.
    A diverged trial keeps the rungs it had reached and has ``diverged`` set: it ranks below all others.
    Trials of earlier studies (warm start) stand before the study's own and have negative numbers.
    """

    number: int
    params: Params
    state: TrialState
    losses: tuple[tuple[int, float], ...] = ()
    diverged: bool = False
    vector: tuple[float, ...] = ()
    violation: float = 0.0
    seconds: float = 0.0

    @property
    def feasible(self) -> bool:
        return self.violation == 0

    @property
    def loss(self) -> float:
        """The loss at the highest rung reached; infinite before the first rung and after divergence."""
        return self.losses[-1][1] if self.losses and not self.diverged else math.inf


# All trials with a smaller number than the one asked for, by number, with their results as of the cursor. A trial that
# runs or waits beside the one asked for is in it too; params hold the active parameters only.
History = Sequence[TrialRecord]
