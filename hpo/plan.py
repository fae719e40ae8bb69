"""What a study would do nominally: brackets, rungs, trials, epochs; hours at a given speed; and how far runs spread."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.domain.history import Params
from hpo.schedulers.asha import PromotingAsha, StoppingAsha
from hpo.schedulers.base import Scheduler
from hpo.schedulers.build import build_scheduler
from hpo.schedulers.pbt import Pbt
from hpo.schedulers.rules.build import build_rules
from hpo.schedulers.successive_halving import SyncHalving
from hpo.simulate import Epoch, simulate
from hpo.spec.samplers import RandomSamplerSpec
from hpo.spec.study import StudySpec

Drawn = tuple[NDArray[np.float64], NDArray[np.float64]]

SPREAD_TRIALS = 1_000  # of larger studies the spread is not simulated
SPREAD_SEEDS = 20


@dataclass(frozen=True, slots=True)
class RungShare:
    """How many trials arrive at a rung, and the epochs that they train to get there from the rung below.

    ``bracket`` counts the ladders from the longest; of brackets that come again and again, the trials are summed.
    """

    bracket: int
    rung: int
    resource: int
    trials: int
    epochs: int


@dataclass(frozen=True, slots=True)
class Plan:
    """``epochs_without_pruning`` is what training the same trials to the end would cost."""

    rungs: tuple[RungShare, ...]
    trials: int
    epochs: int
    epochs_without_pruning: int

    def gpu_hours(self, epoch_s: float) -> float:
        """Device hours at ``epoch_s`` seconds an epoch."""
        return self.epochs * epoch_s / 3600


def plan(spec: StudySpec) -> Plan:
    """The rung table if every rung keeps exactly its share and no stopping rule acts.

    Li et al. 2020 call these the nominal numbers; asynchronous promotions move the real ones a little.
    """
    if spec.sampler.seed is None:
        spec = spec.model_copy(update={"sampler": spec.sampler.model_copy(update={"seed": 0})})
    scheduler = build_scheduler(spec)
    tables: dict[tuple[int, ...], list[int]] = {}
    for ladder, arrivals in _brackets(scheduler, spec.max_trials):
        summed = tables.setdefault(ladder, [0] * len(ladder))
        for rung, trials in enumerate(arrivals):
            summed[rung] += trials
    rungs = tuple(
        RungShare(bracket, rung, ladder[rung], trials, trials * (ladder[rung] - (ladder[rung - 1] if rung else 0)))
        for bracket, (ladder, arrivals) in enumerate(sorted(tables.items(), key=lambda item: item[0][0]))
        for rung, trials in enumerate(arrivals)
    )
    trials = sum(share.trials for share in rungs if share.rung == 0)
    epochs = sum(share.epochs for share in rungs)
    return Plan(rungs, trials, epochs, trials * spec.scheduler.max_resource)


def _brackets(scheduler: Scheduler, max_trials: int) -> list[tuple[tuple[int, ...], list[int]]]:
    """The ladder of each bracket and how many trials arrive at each of its rungs."""
    if isinstance(scheduler, Pbt):
        return [(scheduler.levels, [min(scheduler.population_size, max_trials)] * len(scheduler.levels))]
    if isinstance(scheduler, (PromotingAsha, StoppingAsha)) and scheduler.n_full is not None:
        # A study that ends with n_full whole trials needs no more than those that narrow down to them.
        max_trials = min(max_trials, scheduler.n_full * scheduler.reduction_factor ** (len(scheduler.levels) - 1))
    brackets = []
    for bracket, size in sorted(Counter(map(scheduler.bracket_of, range(max_trials))).items()):
        ladder = scheduler.ladder(bracket)
        brackets.append((ladder, [_share(scheduler, size, rung) for rung in range(len(ladder))]))
    return brackets


def _share(scheduler: Scheduler, size: int, rung: int) -> int:
    """How many of a bracket's ``size`` trials arrive at a rung."""
    if isinstance(scheduler, SyncHalving):
        return size if rung == 0 else scheduler.share(size, rung)
    if not isinstance(scheduler, (PromotingAsha, StoppingAsha)):
        return size
    # The first to arrive at a rung is never stopped, while a promotion wants as many as the reduction factor.
    least = 1 if isinstance(scheduler, StoppingAsha) else 0
    for _ in range(rung):
        size = max(least, size // scheduler.reduction_factor)
    return size


@dataclass(frozen=True, slots=True)
class Spread:
    """Epochs that asynchronous runs of a study spend: the median of ``runs``, and the range for nine in ten more.

    Fewer than 19 runs cannot tell so much: then it is their whole range.
    """

    low: int
    median: int
    high: int
    runs: int


def spread(spec: StudySpec, *, workers: int, seeds: Sequence[int] = range(SPREAD_SEEDS)) -> Spread | None:
    """Simulate the study on ``workers``, where each trial has a rank of its own that all rungs agree on.

    Epochs of different trials take between half and twice as long as each other. None for a study of several
    objectives, with a stopping rule (which looks at the shape of a curve) or of so many trials that it would take long.
    """
    if len(spec.objectives) > 1 or build_rules(spec) or spec.max_trials > SPREAD_TRIALS:
        return None
    spent = []
    for seed in seeds:
        rng = np.random.default_rng([seed, 0x5])
        quality, speed = rng.random(spec.max_trials), 2.0 ** rng.uniform(-1, 1, spec.max_trials)

        def curve(number: int, params: Params, step: int, drawn: Drawn = (quality, speed)) -> Epoch:
            return Epoch(float(drawn[0][number]), float(drawn[1][number]))

        # How params are drawn does not matter to the epochs: the quality is the trial's own.
        plain = spec.model_copy(update={"sampler": RandomSamplerSpec(seed=seed), "warm_start": None})
        spent.append(simulate(plain, curve, workers=workers).epochs)
    spent.sort()
    # A further run lies between the k-th lowest and the k-th highest of n with probability 1 - 2k / (n + 1). Quantiles
    # of so few runs would be too narrow: between the 5th and the 95th percentile of 20 lie 8 in 10.
    k = max(1, (len(spent) + 1) // 20)
    return Spread(spent[k - 1], int(np.median(spent)), spent[-k], len(spent))
