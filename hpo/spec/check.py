"""Does a study fit its trainer? What the spec models cannot see: metrics, names and values that the trainer knows."""

from collections.abc import Collection, Iterator, Mapping
from itertools import product
from typing import Any

from hpo.domain.errors import FieldError
from hpo.domain.history import ParamValue
from hpo.spec.samplers import GridSamplerSpec
from hpo.spec.space import CategoricalParam, FloatParam, Param
from hpo.spec.study import EXTERNAL, StudySpec
from models.catalog import TRAINERS, TrainerInfo, parse_config
from models.job import InvalidConfig

# Entries that decide what the others mean: probed in every combination, never left out of a probe.
STRUCTURAL = ("dataset", "architecture")


def check(spec: StudySpec) -> list[FieldError]:
    """All that is wrong, each with a pointer into the spec; empty if the study can run."""
    found = [*_grid_errors(spec), *_name_errors(spec)]
    if spec.trainer.name == EXTERNAL:
        return found
    trainer = TRAINERS.get(spec.trainer.name)
    if trainer is None:
        known = ", ".join(sorted([*TRAINERS, EXTERNAL]))
        message = f"unknown trainer {spec.trainer.name!r}, want one of {known}"
        return [*found, FieldError("/trainer/name", "unknown_trainer", message)]
    return [*found, *_metric_errors(spec, trainer), *_config_errors(spec, trainer)]


def _grid_errors(spec: StudySpec) -> Iterator[FieldError]:
    if not isinstance(spec.sampler, GridSamplerSpec):
        return
    for index, param in enumerate(spec.search_space):
        if param.grid_size is None:
            wanted = "list its values as a categorical parameter" if _is_log(param) else "give a step"
            message = f"a grid needs finitely many points and {param.name!r} is continuous: {wanted}"
            yield FieldError(f"/search_space/{index}/step", "grid_needs_step", message)


def _is_log(param: Param) -> bool:
    return isinstance(param, FloatParam) and param.log


def _name_errors(spec: StudySpec) -> Iterator[FieldError]:
    for index, param in enumerate(spec.search_space):
        if param.name in spec.trainer.config:
            message = f"{param.name!r} is searched and also fixed in trainer.config: keep one of them"
            yield FieldError(f"/search_space/{index}/name", "fixed_and_searched", message)


def _metric_errors(spec: StudySpec, trainer: TrainerInfo) -> Iterator[FieldError]:
    for index, objective in enumerate(spec.objectives):
        if objective.metric not in trainer.metrics:
            known = ", ".join(trainer.metrics)
            message = f"{spec.trainer.name} reports no {objective.metric!r}, want one of {known}"
            yield FieldError(f"/objectives/{index}/metric", "unknown_metric", message)


def _config_errors(spec: StudySpec, trainer: TrainerInfo) -> list[FieldError]:
    """Errors of the configurations at the ends of the space, the first of each field."""
    found: dict[str, FieldError] = {}
    for probe in _probes(spec):
        for error in _refusals(spec, trainer, probe):
            found.setdefault(error.pointer, error)
    return list(found.values())


def _probes(spec: StudySpec) -> Iterator[dict[str, ParamValue]]:
    """Params from all ends of the space: every choice, both ends of every range, all lowest and all highest at once.

    One probe moves all parameters, so their number is that of the longest list and not the sum of all lists.
    """
    searched = {param.name: _ends(param) for param in spec.search_space}
    structural = [name for name in STRUCTURAL if name in searched]
    rounds = max(len(ends) for ends in searched.values())
    for chosen in product(*(searched[name] for name in structural)):
        fixed = dict(zip(structural, chosen, strict=True))
        for turn in range(1 if len(structural) == len(searched) else rounds):
            yield {name: ends[min(turn, len(ends) - 1)] for name, ends in searched.items()} | fixed


def _ends(param: Param) -> list[ParamValue]:
    """Values that stand for a parameter; numbers rise, so that the last probe has all of them at their largest."""
    if isinstance(param, CategoricalParam):
        if all(isinstance(choice, (int, float)) for choice in param.choices):
            return sorted(param.choices)
        return list(param.choices)
    if isinstance(param, FloatParam):
        return [float(param.low), float(param.high)]
    return [param.low, param.low + (param.grid_size - 1) * param.step]


def _refusals(spec: StudySpec, trainer: TrainerInfo, probe: Mapping[str, ParamValue]) -> Iterator[FieldError]:
    """What the trainer refuses of one configuration. An entry at fault is left out to find the others."""
    config: dict[str, Any] = {**spec.trainer.config, **probe}
    while True:
        try:
            parse_config(spec.trainer.name, config)
        except InvalidConfig as refused:
            yield _error(spec, refused, known=refused.field in _fields(trainer, config))
            # Without its architecture or data set it is another configuration, whose errors are none of the user's.
            if refused.field in STRUCTURAL or refused.field not in config:
                return
            del config[refused.field]
        else:
            return


def _fields(trainer: TrainerInfo, config: Mapping[str, Any]) -> Collection[str]:
    try:
        return trainer.config.variant(config).model_fields
    except InvalidConfig:  # an architecture that does not exist has no entries of its own
        return trainer.config.model_fields


def _error(spec: StudySpec, refused: InvalidConfig, *, known: bool) -> FieldError:
    for index, param in enumerate(spec.search_space):
        if param.name == refused.field:
            if known:
                return FieldError(f"/search_space/{index}", "value_refused", refused.message)
            return FieldError(f"/search_space/{index}/name", "unknown_name", refused.message)
    field = refused.field.replace("~", "~0").replace("/", "~1")
    return FieldError(f"/trainer/config/{field}", "value_refused" if known else "unknown_name", refused.message)
