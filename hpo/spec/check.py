"""Does a study fit its trainer? What the spec models cannot see: metrics, names and values that the trainer knows."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Any

from hpo.domain.errors import FieldError
from hpo.domain.history import Params, ParamValue
from hpo.spec.conditions import only_active, prepared
from hpo.spec.grid import GridTooLarge
from hpo.spec.samplers import GridSamplerSpec
from hpo.spec.space import CategoricalParam, FixedParam, FloatParam, Param, value_key
from hpo.spec.study import EXTERNAL, StudySpec
from models.catalog import TRAINERS, TrainerInfo, parse_config
from models.job import InvalidConfig

# Entries that decide what the others mean: probed in every combination, never left out of a probe.
STRUCTURAL = ("architecture", "image_size")
# A space with many conditions and rules has more ends than a request may wait for; the trainer refuses the rest itself.
MAX_PROBES = 10_000


def check(spec: StudySpec, *, installed: Collection[str] = ()) -> list[FieldError]:
    """All that is wrong, each with a pointer into the spec; empty if the study can run.

    ``installed`` names the trainers of the operator's own, whose configuration and metrics only they themselves know.
    """
    found = [*_grid_errors(spec), *_name_errors(spec)]
    if spec.trainer.name == EXTERNAL or spec.trainer.name in installed:
        return found
    trainer = TRAINERS.get(spec.trainer.name)
    if trainer is None:
        known = ", ".join(sorted([*TRAINERS, EXTERNAL, *installed]))
        message = (
            f"unknown trainer {spec.trainer.name!r}, want one of {known}; "
            "an installed one must be named by LADDER_TRAINERS on the API and on the workers"
        )
        return [*found, FieldError("/trainer/name", "unknown_trainer", message)]
    return [*found, *_metric_errors(spec, trainer), *_common_errors(spec, trainer), *_config_errors(spec, trainer)]


def _grid_errors(spec: StudySpec) -> Iterator[FieldError]:
    if not isinstance(spec.chosen_sampler, GridSamplerSpec):
        return
    for index, param in enumerate(spec.search_space):
        if param.grid_size is None:
            wanted = "list its values as a categorical parameter" if _is_log(param) else "give a step"
            message = f"a grid needs finitely many points and {param.name!r} is continuous: {wanted}"
            yield FieldError(f"/search_space/{index}/step", "grid_needs_step", message)
    try:
        _ = spec.grid_size
    except GridTooLarge as too_large:
        message = f"a grid with conditions or rules is listed point by point, and there are {too_large}: use fewer"
        yield FieldError("/sampler/type", "grid_too_large", message)


def _is_log(param: Param) -> bool:
    return isinstance(param, FloatParam) and param.log


def _name_errors(spec: StudySpec) -> Iterator[FieldError]:
    for index, param in enumerate(spec.search_space):
        if param.name in spec.trainer.config:
            message = f"{param.name!r} is searched and also fixed in trainer.config: keep one of them"
            yield FieldError(f"/search_space/{index}/name", "fixed_and_searched", message)


def _metric_errors(spec: StudySpec, trainer: TrainerInfo) -> Iterator[FieldError]:
    wanted = [(f"/objectives/{index}/metric", one.metric) for index, one in enumerate(spec.objectives)]
    wanted += [(f"/constraints/{index}/metric", one.metric) for index, one in enumerate(spec.constraints)]
    for pointer, metric in wanted:
        if metric not in trainer.metrics:
            known = ", ".join(trainer.metrics)
            yield FieldError(
                pointer, "unknown_metric", f"{spec.trainer.name} reports no {metric!r}, want one of {known}"
            )


def _common_errors(spec: StudySpec, trainer: TrainerInfo) -> Iterator[FieldError]:
    for index, param in enumerate(spec.search_space):
        if param.name in trainer.common:
            # A fixed one neither: what is compared between studies, and with their confirmation, is trainer.config.
            message = f"all trials of a study are judged on the same data: give {param.name!r} in trainer.config"
            yield FieldError(f"/search_space/{index}/name", "not_searchable", message)
    folds = spec.trainer.config.get("folds")
    if "folds" in trainer.common and type(folds) is int and folds != spec.scheduler.max_resource:
        message = f"with folds a step is a fold: max_resource must be {folds}, got {spec.scheduler.max_resource}"
        yield FieldError("/scheduler/max_resource", "not_the_folds", message)


def _config_errors(spec: StudySpec, trainer: TrainerInfo) -> list[FieldError]:
    """Errors of the configurations at the ends of the space, the first of each field."""
    found: dict[str, FieldError] = {}
    for probe in _probes(spec):
        for error in _refusals(spec, trainer, probe):
            found.setdefault(error.pointer, error)
    return list(found.values())


def _probes(spec: StudySpec) -> Iterator[dict[str, ParamValue]]:
    """Distinct configurations of the space from all its ends."""
    allowed = _allowed_in(spec)
    seen: set[str] = set()
    for probe in islice(_candidates(spec, allowed), MAX_PROBES):
        told = repr(probe)  # of a dict of plain values: 1 and True look different
        if told not in seen and allowed(probe):
            seen.add(told)
            yield probe


def _candidates(spec: StudySpec, allowed: Callable[[Params], bool]) -> Iterator[dict[str, ParamValue]]:
    """Every choice, both ends of every range, all lowest and all highest at once.

    One probe moves all parameters, so their number is that of the longest list and not the sum of all lists. Inactive
    parameters are left out; every condition has probes of its own, in which it holds. What breaks a rule of the space
    is replaced by configurations in which one parameter has its value and the others are all lowest or all highest.
    """
    ordered = prepared(spec.search_space)
    ends = {param.name: _ends(param) for param in ordered}
    structural = [name for name in STRUCTURAL if name in ends]
    for forced in _scenes(ordered, structural):
        lists = ends | forced
        turns = max((len(lists[name]) for name in lists if name not in structural), default=1)
        for chosen, turn in product(product(*(ends[name] for name in structural)), range(turns)):
            pinned = {name: values[min(turn, len(values) - 1)] for name, values in forced.items()}
            pinned |= dict(zip(structural, chosen, strict=True))
            wanted = {name: values[min(turn, len(values) - 1)] for name, values in lists.items()} | pinned
            probe = only_active(ordered, wanted)
            yield probe
            if not allowed(probe):
                for end, name in product((0, -1), probe):
                    others = {other: values[end] for other, values in lists.items()} | pinned
                    yield only_active(ordered, others | {name: wanted[name]})


def _scenes(ordered: Sequence[Param], structural: Collection[str]) -> Iterator[dict[str, list[ParamValue]]]:
    """What must be held for a condition to be met, its parents' conditions included; first the scene without any.

    Structural parameters are probed in all combinations anyway.
    """
    yield {}
    by_name = {param.name: param for param in ordered}
    told: list[dict[str, list[ParamValue]]] = []
    for param in ordered:
        forced: dict[str, list[ParamValue]] = {}
        waiting = [param]
        while waiting:
            for name, values in (waiting.pop().when or {}).items():
                own = by_name[name]
                meant = list(dict.fromkeys(own.index(value) for value in values))  # type: ignore[arg-type]  # its own
                points = [own.point(index) for index in meant]
                forced[name] = [value for value in forced[name] if value in points] if name in forced else points
                waiting.append(own)
        held = {name: values for name, values in forced.items() if name not in structural}
        if held and all(held.values()) and held not in told:
            told.append(held)
            yield held


def _allowed_in(spec: StudySpec) -> Callable[[Params], bool]:
    """Tells whether a configuration keeps the rules of the space."""
    by_name = {param.name: param for param in spec.search_space}
    rules = spec.rules
    clauses = [
        {name: {value_key(by_name[name], value) for value in values} for name, values in clause.items()}
        for clause in spec.forbidden
    ]

    def allowed(probe: Params) -> bool:
        keys = {name: value_key(by_name[name], value) for name, value in probe.items()} if clauses else {}
        forbidden = any(all(name in keys and keys[name] in clause[name] for name in clause) for clause in clauses)
        return not forbidden and all(rule.holds(probe) for rule in rules)

    return allowed


def _ends(param: Param) -> list[ParamValue]:
    """Values that stand for a parameter; numbers rise, so that the last probe has all of them at their largest."""
    if isinstance(param, FixedParam):
        return [param.value]
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
        return trainer.kind(config).model_fields
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
