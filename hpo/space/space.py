"""A search space as a whole: random points, the check of given params, and params of before the space was changed."""

from collections.abc import Hashable

import numpy as np

from hpo.domain.errors import FieldError
from hpo.domain.history import Params, ParamValue
from hpo.space.definition import Space, broken_clause, broken_rule, without_inactive
from hpo.space.grid import grid_point, grid_size, points
from hpo.space.values import draw
from hpo.spec.conditions import is_active
from hpo.spec.space import FixedParam, FloatParam, Param, value_key

__all__ = [
    "Space",
    "broken_rule",
    "canonical",
    "fill_defaults",
    "grid_point",
    "grid_size",
    "is_active",
    "points",
    "problems",
    "sample",
    "without_inactive",
]

TRIES = 100  # random points, before a point that keeps the rules is constructed


def sample(space: Space, rng: np.random.Generator) -> Params:
    """A random point that keeps all rules; parameters are drawn in the order in which they stand.

    A forbidden combination is drawn again as a whole. Numbers that break a linear rule are drawn again without the
    rest: else ``optimizer = sgd`` would vanish where a narrow rule is about what only sgd has. Where hardly any point
    keeps the rules, one is constructed (``hpo/space/repair``), not exactly by the parameters' distributions.
    Raises EmptySpace if none is found.
    """
    params = draw_active(space, rng)
    for _ in range(TRIES):
        if broken_rule(space, params) is None:
            return params
        numbers = [] if broken_clause(space, params) is not None else _free_numbers(space, params)
        again = {param.name: draw(param, rng) for param in numbers}
        params = params | again if again else draw_active(space, rng)
    # Imported where it is needed: it brings scipy.optimize, and hardly any space needs it.
    from hpo.space.repair import construct

    return construct(space, params, rng)


def _free_numbers(space: Space, params: Params) -> list[Param]:
    """Parameters of the linear rules that apply, on which no condition hangs."""
    names = {name for rule in space.rules if rule.applies(params) for name in rule.names}
    return [param for param in space if param.name in names - space.parents and not isinstance(param, FixedParam)]


def draw_active(space: Space, rng: np.random.Generator) -> dict[str, ParamValue]:
    """A random configuration with the conditions kept and the rules left aside."""
    params: dict[str, ParamValue] = {}
    for param in space:
        if is_active(param, params):
            params[param.name] = draw(param, rng)
    return params


def canonical(space: Space, params: Params) -> Hashable:
    """Equal for equal configurations only: 0.1 + 0.2 on steps of 0.1 is 0.3, the choices 1, 1.0 and True differ.

    What the configuration does not use does not count. Comparable within one space.
    """
    used = without_inactive(space, params)
    return tuple((name, value_key(space.by_name[name], value)) for name, value in used.items())


def problems(space: Space, params: Params) -> list[FieldError]:
    """What keeps given params from being a point of the space; pointers are relative to the params."""
    found = [
        FieldError(f"/{_escaped(name)}", "unknown_parameter", f"{name!r} is not a parameter of this study")
        for name in params
        if name not in space.by_name
    ]
    active = without_inactive(space, params)
    doubtful: set[str] = set()  # nobody can say whether their children are active
    for param in space:
        parents_known = not doubtful.intersection(param.when or ())
        if parents_known and param.name not in params and not is_active(param, active):
            continue
        error = _problem(param, params, active, parents_known=parents_known)
        if error is not None:
            found.append(error)
        if not parents_known or (error is not None and error.code != "inactive_parameter"):
            doubtful.add(param.name)
    if not found and (rule := broken_rule(space, active)) is not None:
        found.append(FieldError("", "broken_rule", f"the configuration breaks a rule of the space: {rule}"))
    return found


def _problem(param: Param, params: Params, active: Params, *, parents_known: bool) -> FieldError | None:
    at = f"/{param.name}"
    if param.name not in params:
        if not parents_known:
            return None
        wanted = "a value is wanted for every parameter" + (" that is active" if param.when else "")
        return FieldError(at, "missing_parameter", wanted)
    if parents_known and param.name not in active:
        when = " and ".join(
            f"{name} is {' or '.join(map(repr, dict.fromkeys(v)))}" for name, v in (param.when or {}).items()
        )
        return FieldError(at, "inactive_parameter", f"{param.name!r} is used only when {when}: leave it out")
    if (message := param.complaint(params[param.name])) is not None:
        return FieldError(at, "value_not_in_space", message)
    return None


def fill_defaults(space: Space, params: Params) -> Params:
    """Params of a trial from before the space was changed, in terms of the space as it is.

    A parameter added since counts as having its ``default``, a fixed one its value; without a default it stays missing.
    What is no longer in the space or no longer active is left out. Values outside a range that was narrowed stay.
    """
    kept: dict[str, ParamValue] = {}
    for param in space:
        if not is_active(param, kept):
            continue
        if param.name in params:
            kept[param.name] = params[param.name]
        elif (assumed := _assumed(param)) is not None:
            kept[param.name] = assumed
    return kept


def _assumed(param: Param) -> ParamValue | None:
    if isinstance(param, FixedParam):
        return param.value
    if param.default is None:
        return None
    if isinstance(param, FloatParam):
        return float(param.default)
    return param.point(param.index(param.default))  # type: ignore[arg-type]  # the spec has checked it


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
