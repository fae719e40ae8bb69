"""From what the user asked for to the scheduler that promotes; rules that only stop are built apart from it."""

from hpo.schedulers.asha import PromotingAsha, StoppingAsha
from hpo.schedulers.base import Scheduler
from hpo.schedulers.fifo import Fifo
from hpo.schedulers.hyperband import Hyperband
from hpo.schedulers.pbt import Pbt
from hpo.schedulers.successive_halving import SuccessiveHalving
from hpo.spec.schedulers import (
    AshaSpec,
    HyperbandSpec,
    PbtSpec,
    PickedScheduler,
    SuccessiveHalvingSpec,
)
from hpo.spec.study import StudySpec


def build_scheduler(spec: StudySpec) -> Scheduler:
    """The main scheduler of a study; its draws take the seed of the sampler.

    Raises ValueError if that seed or the pick of ``auto`` is not filled in yet: no answer could be given again.
    """
    if spec.sampler.seed is None:
        raise ValueError("the sampler's seed must be chosen before a scheduler is built")
    if spec.chosen_scheduler is None:
        raise ValueError("the scheduler must be picked before it is built")
    return _built(spec.chosen_scheduler, spec.sampler.seed)


def _built(spec: PickedScheduler, seed: int) -> Scheduler:
    match spec:
        case AshaSpec():
            kind = PromotingAsha if spec.mode == "promote" else StoppingAsha
            return kind(spec.levels, spec.reduction_factor, spec.n_full, brackets=spec.brackets, seed=seed)
        case SuccessiveHalvingSpec():
            whole = spec.reduction_factor ** (len(spec.levels) - 1)
            return SuccessiveHalving(spec.levels, spec.reduction_factor, spec.n_trials or whole)
        case HyperbandSpec(mode="async"):
            return PromotingAsha(spec.levels, spec.reduction_factor, brackets=len(spec.levels), seed=seed)
        case HyperbandSpec():
            return Hyperband(spec.levels, spec.reduction_factor)
        case PbtSpec():
            return Pbt(spec.levels, spec.population_size, spec.quantile, seed=seed)
        case _:
            return Fifo(
                spec.max_resource
            )  # median and the other rules stop trials; who is not stopped is trained whole
