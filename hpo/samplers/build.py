"""From what the user asked for to a sampler."""

from hpo.samplers.base import Sampler
from hpo.samplers.grid import GridSearch
from hpo.samplers.manual import Manual
from hpo.samplers.random_search import RandomSearch
from hpo.samplers.sobol import SobolSearch
from hpo.spec.samplers import (
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


def build_sampler(spec: StudySpec) -> Sampler:
    """The sampler of a study. Each brings its library only when it is built.

    Raises ValueError if it is ``auto`` and none was picked yet.
    """
    chosen = spec.chosen_sampler
    if chosen is None:
        raise ValueError("the sampler must be picked before it is built")
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
