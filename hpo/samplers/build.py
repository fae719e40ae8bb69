"""From what the user asked for to a sampler, and what ``auto`` stands for."""

from hpo.samplers.base import Sampler
from hpo.samplers.grid import GridSearch
from hpo.samplers.manual import Manual
from hpo.samplers.random_search import RandomSearch
from hpo.samplers.sobol import SobolSearch
from hpo.space.grid import grid_size
from hpo.space.space import Space
from hpo.spec.grid import GridTooLarge
from hpo.spec.samplers import (
    AutoSamplerSpec,
    BohbSamplerSpec,
    CmaEsSamplerSpec,
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
from hpo.spec.schedulers import AutoSchedulerSpec, Halving, PbtSpec
from hpo.spec.space import Param
from hpo.spec.study import StudySpec

MANY_TRIALS = 1_000  # the models were compared on budgets well below
FEW_OBJECTIVES = 3  # beyond, almost every trial is in the first front and a split in good and rest says little


def build_sampler(spec: StudySpec) -> Sampler:
    """The sampler of a study; ``auto`` without a pick is picked here. Each brings its library only when it is built."""
    chosen = spec.sampler
    if isinstance(chosen, AutoSamplerSpec):
        chosen = chosen.picked or pick_sampler(spec)[0]
    return _model_free(chosen) or _model_based(chosen, len(spec.objectives))


def _model_free(spec: PickedSampler) -> Sampler | None:
    match spec:
        case RandomSamplerSpec():
            return RandomSearch()
        case GridSamplerSpec():
            return GridSearch()
        case SobolSamplerSpec():
            return SobolSearch()
        case ManualSamplerSpec():
            return Manual()
    return None


def _model_based(spec: PickedSampler, n_objectives: int) -> Sampler:
    # Fields bear the names of the arguments; type and seed are no business of a sampler, whose keys carry the seed.
    given = spec.model_dump(exclude={"type", "seed"})
    match spec:
        case TpeSamplerSpec():
            from hpo.samplers.tpe import Tpe

            return Tpe(**given, n_objectives=n_objectives)
        case BohbSamplerSpec():
            from hpo.samplers.tpe import Bohb

            return Bohb(**given, n_objectives=n_objectives)
        case GpSamplerSpec():
            from hpo.samplers.gaussian import gaussian_search

            return gaussian_search(**given, n_objectives=n_objectives)
        case RfSamplerSpec():
            from hpo.samplers.random_forest import forest_search

            return forest_search(**given, n_objectives=n_objectives)
        case CmaEsSamplerSpec():
            from hpo.samplers.cma_es import CmaEs

            return CmaEs(**given, n_objectives=n_objectives)
        case GeneticSamplerSpec():
            from hpo.samplers.genetic import Genetic

            return Genetic(**given, n_objectives=n_objectives)
    raise ValueError(f"no sampler for {spec.type!r}")


def pick_sampler(spec: StudySpec) -> tuple[PickedSampler, str]:
    """What ``auto`` stands for in this study, and why, as a sentence for the user (docs/adr/0016)."""
    seed, n_trials, points = spec.sampler.seed, _most_trials(spec), _points(spec)
    if isinstance(spec.scheduler, PbtSpec):
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
    scheduler = spec.scheduler.picked if isinstance(spec.scheduler, AutoSchedulerSpec) else spec.scheduler
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
