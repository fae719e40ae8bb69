"""Do the parts of a study go together? The one place for combinations that each part alone cannot see."""

from collections.abc import Iterator

from hpo.domain.errors import FieldError
from hpo.spec.pruners import Pruner
from hpo.spec.samplers import (
    AutoSamplerSpec,
    GpSamplerSpec,
    ManualSamplerSpec,
    PickedSampler,
    RandomSamplerSpec,
    RfSamplerSpec,
    SobolSamplerSpec,
)
from hpo.spec.schedulers import AshaSpec, AutoSchedulerSpec, PbtSpec, PickedScheduler
from hpo.spec.study import StudySpec

DRAWS_AT_ONCE = (RandomSamplerSpec, SobolSamplerSpec, ManualSamplerSpec)  # needs no result for its next proposal


def incompatible(spec: StudySpec) -> list[FieldError]:
    """Every contradiction, with a pointer into the spec and the reason; empty if there is none."""
    return [*_objective_errors(spec), *_pbt_errors(spec), *_count_errors(spec), *_twice(spec)]


def _objective_errors(spec: StudySpec) -> Iterator[FieldError]:
    """What knows one objective only."""
    n = len(spec.objectives)
    if n == 1:
        return
    (scheduler, scheduler_at), (sampler, sampler_at) = _scheduler(spec), _sampler(spec)
    code = "needs_one_objective"
    if isinstance(scheduler, Pruner):
        message = (
            f"scheduler {scheduler.type} compares one loss and the study has {n} objectives: use asha or hyperband"
        )
        yield FieldError(f"{scheduler_at}/type", code, message)
    for index, pruner in enumerate(spec.pruners):
        message = f"pruner {pruner.type} compares one loss and the study has {n} objectives: leave it out"
        yield FieldError(f"/pruners/{index}/type", code, message)
    if spec.stagnation is not None:
        message = f"stagnation watches one best loss and the study has {n} objectives: give goals or a budget instead"
        yield FieldError("/stagnation", code, message)
    if isinstance(sampler, (GpSamplerSpec, RfSamplerSpec)) and sampler.cost is not None:
        message = f"cost divides the expected improvement of one loss and the study has {n} objectives: leave it out"
        yield FieldError(f"{sampler_at}/cost", code, message)


def _pbt_errors(spec: StudySpec) -> Iterator[FieldError]:
    (scheduler, at), (sampler, sampler_at) = _scheduler(spec), _sampler(spec)
    if not isinstance(scheduler, PbtSpec):
        return
    if sampler is not None and not isinstance(sampler, DRAWS_AT_ONCE):
        message = (
            f"sampler {sampler.type} does not go with pbt, which draws its whole population at once and changes params"
            " itself from then on: want random, sobol, manual or auto"
        )
        yield FieldError(f"{sampler_at}/type", "sampler_with_pbt", message)
    size = scheduler.population_size
    if spec.max_trials < size:
        message = f"max_trials must be at least pbt's population_size = {size}, got {spec.max_trials}"
        yield FieldError("/budget/max_trials", "below_population", message)
    if scheduler.quantile * size < 1:
        message = (
            f"quantile must be at least 1/population_size = 1/{size}, or nobody exploits; got {scheduler.quantile}"
        )
        yield FieldError(f"{at}/quantile", "empty_quantile", message)
    for index, name in enumerate(scheduler.mutate or ()):
        problem = _why_not_mutable(spec, name)
        if problem is not None:
            yield FieldError(f"{at}/mutate/{index}", "not_mutable", f"{name!r} cannot be mutated: {problem}")


def _why_not_mutable(spec: StudySpec, name: str) -> str | None:
    param = next((param for param in spec.search_space if param.name == name), None)
    if param is None:
        return f"the search space has only {', '.join(param.name for param in spec.search_space)}"
    if param.type == "fixed":
        return "it is fixed"
    if param.when:
        return f"it depends on {', '.join(param.when)}"
    return None


def _count_errors(spec: StudySpec) -> Iterator[FieldError]:
    scheduler, at = _scheduler(spec)
    if isinstance(scheduler, AshaSpec) and scheduler.n_full is not None and scheduler.n_full > spec.max_trials:
        message = (
            f"n_full must be at most the {spec.max_trials} trials that the study may create, got {scheduler.n_full}"
        )
        yield FieldError(f"{at}/n_full", "above_max_trials", message)


def _twice(spec: StudySpec) -> Iterator[FieldError]:
    for index, pruner in enumerate(spec.pruners):
        first = spec.pruners.index(pruner)
        if first < index:
            message = f"the same as /pruners/{first}: a rule decides the same twice, change a setting or leave it out"
            yield FieldError(f"/pruners/{index}", "duplicate_pruner", message)


def _scheduler(spec: StudySpec) -> tuple[PickedScheduler | None, str]:
    """The scheduler that counts and where it stands; behind ``auto`` it is what was picked, if anything was yet."""
    return spec.chosen_scheduler, "/scheduler/picked" if isinstance(spec.scheduler, AutoSchedulerSpec) else "/scheduler"


def _sampler(spec: StudySpec) -> tuple[PickedSampler | None, str]:
    return spec.chosen_sampler, "/sampler/picked" if isinstance(spec.sampler, AutoSamplerSpec) else "/sampler"
