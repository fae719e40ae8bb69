"""What ``auto`` stands for, decided once when a study is created, with the reason (docs/adr/0016)."""

from hpo.domain.errors import FieldError, InvalidSpec
from hpo.space.grid import grid_size
from hpo.space.space import Space
from hpo.spec.grid import GridTooLarge
from hpo.spec.samplers import (
    AutoSamplerSpec,
    GeneticSamplerSpec,
    GpSamplerSpec,
    GridSamplerSpec,
    ManualSamplerSpec,
    PickedSampler,
    RandomSamplerSpec,
    RfSamplerSpec,
    SobolSamplerSpec,
    TpeSamplerSpec,
)
from hpo.spec.schedulers import AshaSpec, AutoSchedulerSpec, FifoSpec, Halving, PbtSpec, PickedScheduler
from hpo.spec.space import Param
from hpo.spec.study import StudySpec
from models.catalog import TRAINERS

MANY_TRIALS = 1_000  # the models were compared on budgets well below
FEW_OBJECTIVES = 3  # beyond, almost every trial is in the first front and a split in good and rest says little


def resolve(spec: StudySpec) -> StudySpec:
    """The spec with everything picked that was left to Ladder; what was picked before stays.

    Raises InvalidSpec if a population could change nothing, or should change what its trainer cannot.
    """
    if isinstance(spec.scheduler, AutoSchedulerSpec) and spec.scheduler.picked is None:
        scheduler, why = pick_scheduler(spec, spec.scheduler)
        spec = spec.model_copy(
            update={"scheduler": spec.scheduler.model_copy(update={"picked": scheduler, "why": why})}
        )
    if isinstance(spec.sampler, AutoSamplerSpec) and spec.sampler.picked is None:
        sampler, why = pick_sampler(spec)
        spec = spec.model_copy(update={"sampler": spec.sampler.model_copy(update={"picked": sampler, "why": why})})
    return _mutating(spec)


def _mutating(spec: StudySpec) -> StudySpec:
    """Name what a population may change in training, where the user did not: what the trainer can change."""
    scheduler = spec.chosen_scheduler
    if not isinstance(scheduler, PbtSpec):
        return spec
    auto = isinstance(spec.scheduler, AutoSchedulerSpec)  # one that was told what it stands for
    at = "/scheduler/picked/mutate" if auto else "/scheduler/mutate"
    trainer = TRAINERS.get(spec.trainer.name)
    mutable = frozenset() if trainer is None else trainer.mutable
    if scheduler.mutate is None:
        free = [param.name for param in spec.search_space if param.type != "fixed" and not param.when]
        names = tuple(name for name in free if name in mutable)
        if not names:
            message = f"{spec.trainer.name} can change none of {', '.join(free)} in training: a population needs one"
            raise InvalidSpec(FieldError(at, "nothing_mutable", message))
        mutating = scheduler.model_copy(update={"mutate": names})
        told = spec.scheduler.model_copy(update={"picked": mutating}) if auto else mutating
        return spec.model_copy(update={"scheduler": told})
    fixed = [
        FieldError(
            f"{at}/{index}",
            "not_mutable",
            f"{spec.trainer.name} cannot change {name!r} in training, only {', '.join(sorted(mutable)) or 'nothing'}",
        )
        for index, name in enumerate(scheduler.mutate)
        if name not in mutable
    ]
    if fixed:
        raise InvalidSpec(*fixed)
    return spec


def pick_scheduler(spec: StudySpec, auto: AutoSchedulerSpec) -> tuple[PickedScheduler, str]:
    """ASHA, from a resource at which the sampler at hand can trust what it sees."""
    full = auto.max_resource
    if full < 3:
        return FifoSpec(max_resource=full), "a trial is too short to compare trials before its end"
    if isinstance(spec.chosen_sampler, (RandomSamplerSpec, SobolSamplerSpec, GridSamplerSpec, ManualSamplerSpec)):
        asha = AshaSpec(max_resource=full, reduction_factor=3)
        return asha, "proposals that learn nothing pay by their number: rungs begin at one epoch"
    asha = AshaSpec(min_resource=max(1, full // 9), max_resource=full, reduction_factor=3)
    return asha, "a model is misled by the first epochs: rungs begin at a ninth of the whole training"


def pick_sampler(spec: StudySpec) -> tuple[PickedSampler, str]:
    """What ``auto`` stands for in this study, and why, as a sentence for the user (docs/adr/0016)."""
    seed, n_trials, points = spec.sampler.seed, _most_trials(spec), _points(spec)
    if isinstance(spec.chosen_scheduler, PbtSpec):
        return SobolSamplerSpec(seed=seed), "a population is drawn at once: a Sobol sequence spreads it evenly"
    if points is not None and points <= n_trials:
        return GridSamplerSpec(seed=seed), f"the space has {points} points and the budget allows {n_trials} trials"
    if len(spec.objectives) > FEW_OBJECTIVES:
        return (
            GeneticSamplerSpec(seed=seed, algorithm="nsga3"),
            f"{len(spec.objectives)} objectives: reference points keep the front spread where nearly all is on it",
        )
    if len(spec.objectives) > 1:
        return TpeSamplerSpec(seed=seed), f"{len(spec.objectives)} objectives: TPE splits trials by fronts (MOTPE)"
    if n_trials > MANY_TRIALS:
        return TpeSamplerSpec(seed=seed), f"with {n_trials} trials a proposal must cost little: TPE takes milliseconds"
    if all(_is_plain(param) for param in spec.search_space):
        picked = GpSamplerSpec(seed=seed, acquisition="both", beta=3.0)
        return picked, "one objective over numbers: a Gaussian process learns most from few trials"
    return (
        RfSamplerSpec(seed=seed),
        "one objective over choices or conditional parameters: a random forest takes them as they are",
    )


def _most_trials(spec: StudySpec) -> int:
    """How many trials the budget allows if all end at their first rung."""
    scheduler = spec.chosen_scheduler
    shortest = scheduler.levels[0] if isinstance(scheduler, Halving) else spec.scheduler.max_resource
    epochs = spec.budget.max_epochs
    return spec.budget.max_trials if epochs is None else min(spec.budget.max_trials, max(1, epochs // shortest))


def _is_plain(param: Param) -> bool:
    """Whether the parameter is a number, or ordered as numbers are, in every configuration."""
    return not param.when and (param.type != "categorical" or param.ordered or len(param.choices) <= 2)


def _points(spec: StudySpec) -> int | None:
    """Points of a finite space; None if it is continuous or too tangled to count."""
    if any(param.grid_size is None for param in spec.search_space):
        return None
    try:
        return grid_size(Space.of(spec))
    except GridTooLarge:
        return None
