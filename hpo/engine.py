"""One study's search: sampler and scheduler composed, and what they would do nominally. Pure: no storage, no clock."""

from dataclasses import dataclass
from functools import cached_property

from hpo.domain.history import History, Params, RngKey
from hpo.samplers.base import Sampler
from hpo.samplers.grid import GridSearch
from hpo.samplers.random_search import RandomSearch
from hpo.schedulers.asha import PromotingAsha, StoppingAsha
from hpo.schedulers.base import Decision, RungEntry, RungLog, Scheduler, StudyView, Work
from hpo.schedulers.fifo import Fifo
from hpo.spec.search import FifoSpec, GridSamplerSpec, RandomSamplerSpec, SamplerSpec, SchedulerSpec
from hpo.spec.study import StudySpec


class Engine:
    """Decides and proposes for one study. Keep it as long as the study runs: its sampler remembers conversions."""

    def __init__(self, spec: StudySpec) -> None:
        """Raises ValueError if the sampler's seed is not filled in: without it no answer could be given again."""
        if spec.sampler.seed is None:
            raise ValueError("the sampler's seed must be chosen before a study starts")
        self.spec = spec
        self.scheduler = build_scheduler(spec.scheduler)
        self._seed = spec.sampler.seed

    @property
    def levels(self) -> tuple[int, ...]:
        return self.scheduler.levels

    @property
    def first_target(self) -> int:
        return self.levels[0]

    def decide(self, entry: RungEntry, log: RungLog) -> Decision:
        return self.scheduler.on_report(entry, log)

    def next_work(self, log: RungLog, view: StudyView) -> Work:
        return self.scheduler.next_work(log, view)

    def ask(self, history: History, number: int) -> Params:
        """Params of trial ``number``, given the trials before it as they stood when it was asked for."""
        return self._sampler.ask(self.spec.search_space, history, RngKey(self._seed, number))

    @cached_property
    def _sampler(self) -> Sampler:
        # Built at the first ask: whoever only decides (the API) is spared the half second of importing Optuna.
        return build_sampler(self.spec.sampler)


def build_scheduler(spec: SchedulerSpec) -> Scheduler:
    if isinstance(spec, FifoSpec):
        return Fifo(spec.max_resource)
    kind = PromotingAsha if spec.mode == "promote" else StoppingAsha
    return kind(spec.levels, spec.reduction_factor, spec.n_full)


def build_sampler(spec: SamplerSpec) -> Sampler:
    if isinstance(spec, RandomSamplerSpec):
        return RandomSearch()
    if isinstance(spec, GridSamplerSpec):
        return GridSearch()
    from hpo.samplers.optuna_adapter import Tpe

    return Tpe(
        n_startup_trials=spec.n_startup_trials, n_ei_candidates=spec.n_ei_candidates, multivariate=spec.multivariate
    )


@dataclass(frozen=True, slots=True)
class RungShare:
    """How many trials arrive at a rung, and the epochs that they train to get there from the rung below."""

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


def plan(spec: StudySpec) -> Plan:
    """The rung table if every rung keeps exactly its share.

    Li et al. 2020 call these the nominal numbers; asynchronous promotions move the real ones a little.
    """
    levels = spec.scheduler.levels
    arrivals = _arrivals(spec, len(levels))
    steps = [upper - lower for lower, upper in zip((0, *levels), levels, strict=False)]
    rungs = tuple(RungShare(rung, levels[rung], trials, trials * steps[rung]) for rung, trials in enumerate(arrivals))
    return Plan(rungs, arrivals[0], sum(rung.epochs for rung in rungs), arrivals[0] * levels[-1])


def _arrivals(spec: StudySpec, n_levels: int) -> list[int]:
    if isinstance(spec.scheduler, FifoSpec):
        return [spec.max_trials]
    eta = spec.scheduler.reduction_factor
    # A study that ends with n_full whole trials needs no more than those that narrow down to them.
    wanted = spec.max_trials if spec.scheduler.n_full is None else spec.scheduler.n_full * eta ** (n_levels - 1)
    arrivals = [min(spec.max_trials, wanted)]
    least = 1 if spec.scheduler.mode == "stop" else 0  # the first to arrive at a rung is never stopped
    for _ in range(n_levels - 1):
        arrivals.append(max(least, arrivals[-1] // eta))
    return arrivals
