"""How new params are proposed: one model per sampler, chosen by ``type``."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt

from hpo.spec.base import Real, SpecModel, Text

Seed = Annotated[StrictInt, Field(ge=0, lt=2**31)] | None
Startup = Annotated[StrictInt, Field(ge=1, le=1000)]
Cost = Literal["epochs", "seconds"]


class RandomSamplerSpec(SpecModel):
    type: Literal["random"] = "random"
    seed: Seed = None


class GridSamplerSpec(SpecModel):
    """Every point of the grid once, in an order shuffled by the seed so that a cut-off grid still covers the space."""

    type: Literal["grid"] = "grid"
    seed: Seed = None


class SobolSamplerSpec(SpecModel):
    """A scrambled Sobol sequence: fills the space more evenly than random points (Sobol 1967, Owen 1998)."""

    type: Literal["sobol"] = "sobol"
    seed: Seed = None


class TpeSamplerSpec(SpecModel):
    """Tree-structured Parzen estimator (Bergstra et al. 2011), Optuna's implementation; constant liar."""

    type: Literal["tpe"] = "tpe"
    seed: Seed = None
    n_startup_trials: Startup = 10
    n_ei_candidates: Annotated[StrictInt, Field(ge=1, le=1000)] = 24
    multivariate: StrictBool = True


class BohbSamplerSpec(SpecModel):
    """TPE fitted on the highest rung that has enough entries (Falkner et al. 2018, arXiv:1807.01774).

    ``min_points``: entries that a rung needs; None: one more than there are parameters. ``random_fraction`` of the
    trials are drawn at random.
    """

    type: Literal["bohb"] = "bohb"
    seed: Seed = None
    min_points: Annotated[StrictInt, Field(ge=2, le=1000)] | None = None
    random_fraction: Annotated[Real, Field(ge=0, le=1)] = 0.2
    n_ei_candidates: Annotated[StrictInt, Field(ge=1, le=1000)] = 64


class GpSamplerSpec(SpecModel):
    """Gaussian process: expected improvement (``ei``) or a confidence bound of ``beta`` deviations (``ucb``).

    With ``both`` the two take turns: the bound explores where expected improvement has settled on one valley.

    With ``cost`` the expected improvement is divided by the expected cost of the trial (EI per epoch or per second,
    Snoek et al. 2012).
    """

    type: Literal["gp"] = "gp"
    seed: Seed = None
    n_startup_trials: Startup = 10
    acquisition: Literal["ei", "ucb", "both"] = "ei"
    beta: Annotated[Real, Field(gt=0, le=100)] = 2.0
    cost: Cost | None = None


class RfSamplerSpec(SpecModel):
    """Random-forest surrogate over params and resource, in the manner of SMAC (Hutter et al. 2011).

    With ``cost`` the expected improvement is divided by the expected cost of the trial.
    """

    type: Literal["rf"] = "rf"
    seed: Seed = None
    n_startup_trials: Startup = 10
    n_trees: Annotated[StrictInt, Field(ge=4, le=1000)] = 32
    random_fraction: Annotated[Real, Field(ge=0, le=1)] = 0.1
    cost: Cost | None = None


class CmaEsSamplerSpec(SpecModel):
    """Covariance matrix adaptation (Hansen and Ostermeier 2001) over the numerical parameters, the others at random."""

    type: Literal["cma_es"] = "cma_es"
    seed: Seed = None
    n_startup_trials: Startup = 1
    sigma: Annotated[Real, Field(gt=0, le=1, description="initial step, a share of each range")] = 1 / 6
    population_size: Annotated[StrictInt, Field(ge=4, le=1000)] | None = None


class GeneticSamplerSpec(SpecModel):
    """NSGA-II (Deb et al. 2002) or NSGA-III (Deb and Jain 2014); with one objective a plain genetic algorithm."""

    type: Literal["genetic"] = "genetic"
    seed: Seed = None
    algorithm: Literal["nsga2", "nsga3"] = "nsga2"
    population_size: Annotated[StrictInt, Field(ge=2, le=1000)] = 50
    crossover_prob: Annotated[Real, Field(ge=0, le=1)] = 0.9
    mutation_prob: Annotated[Real, Field(ge=0, le=1)] | None = None


class ManualSamplerSpec(SpecModel):
    """Proposes nothing: only enqueued configurations are trained."""

    type: Literal["manual"] = "manual"
    seed: Seed = None


PickedSampler = Annotated[
    RandomSamplerSpec
    | GridSamplerSpec
    | SobolSamplerSpec
    | TpeSamplerSpec
    | BohbSamplerSpec
    | GpSamplerSpec
    | RfSamplerSpec
    | CmaEsSamplerSpec
    | GeneticSamplerSpec
    | ManualSamplerSpec,
    Field(discriminator="type"),
]


class AutoSamplerSpec(SpecModel):
    """Picks by space, objectives and budget when the study is created; ``picked`` and ``why`` are then filled in."""

    type: Literal["auto"] = "auto"
    seed: Seed = None
    picked: PickedSampler | None = None
    why: Annotated[Text, Field(max_length=1000)] | None = None


SamplerSpec = Annotated[
    RandomSamplerSpec
    | GridSamplerSpec
    | SobolSamplerSpec
    | TpeSamplerSpec
    | BohbSamplerSpec
    | GpSamplerSpec
    | RfSamplerSpec
    | CmaEsSamplerSpec
    | GeneticSamplerSpec
    | ManualSamplerSpec
    | AutoSamplerSpec,
    Field(discriminator="type"),
]
