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
from hpo.spec.study import StudySpec

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
    """What ``auto`` stands for in this study, and why, as a sentence for the user."""
    seed, n_trials, points = spec.sampler.seed, spec.budget.max_trials, _points(spec)
    if points is not None and points <= n_trials:
        return GridSamplerSpec(seed=seed), f"the space has {points} points and the budget allows {n_trials} trials"
    if len(spec.objectives) > FEW_OBJECTIVES:
        return (
            GeneticSamplerSpec(seed=seed, algorithm="nsga3"),
            f"{len(spec.objectives)} objectives: reference points keep the front spread where nearly all is on it",
        )
    if len(spec.objectives) > 1:
        return TpeSamplerSpec(seed=seed), f"{len(spec.objectives)} objectives: TPE splits trials by fronts (MOTPE)"
    return TpeSamplerSpec(seed=seed), "one objective: TPE needs few trials, takes any kind of parameter and scales"


def _points(spec: StudySpec) -> int | None:
    """Points of a finite space; None if it is continuous or too tangled to count."""
    if any(param.grid_size is None for param in spec.search_space):
        return None
    try:
        return grid_size(Space.of(spec))
    except GridTooLarge:
        return None
