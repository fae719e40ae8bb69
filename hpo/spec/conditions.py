"""Which parameters a configuration has: a parameter with ``when`` is active only under certain values of others."""

from collections.abc import Mapping, Sequence

from hpo.spec.base import refuse
from hpo.spec.space import CategoricalParam, FixedParam, FloatParam, Param, is_number

Value = bool | int | float | str


def is_active(param: Param, params: Mapping[str, Value]) -> bool:
    """Does the configuration have this parameter? ``params`` holds values of active parameters only.

    So an inactive parent is a missing one, and makes its children inactive. The ``when`` must be ``prepared``.
    """
    if param.when is None:
        return True
    return all(name in params and _among(params[name], values) for name, values in param.when.items())


def only_active(ordered: Sequence[Param], params: Mapping[str, Value]) -> dict[str, Value]:
    """The values that count, in the order of the parameters: those of inactive and of unknown ones are left out."""
    kept: dict[str, Value] = {}
    for param in ordered:
        if param.name in params and is_active(param, kept):
            kept[param.name] = params[param.name]
    return kept


def prepared(space: Sequence[Param]) -> tuple[Param, ...]:
    """The parameters in their order but parents before children, the values of each ``when`` as the parent writes them.

    ``{"momentum_on": 1}`` over the choices ``(0.0, 1.0)`` means 1.0, and a store may hand 1.0 back as 1: all ways to
    write the value are listed, so that conditions compare by type and still tell the choices 1, 1.0 and True apart.
    """
    by_name = {param.name: param for param in space}
    placed: dict[str, Param] = {}

    def place(param: Param) -> None:
        if param.name in placed:
            return
        if param.when is None:
            placed[param.name] = param
            return
        for name in param.when:
            place(by_name[name])
        when = {name: _spellings(by_name[name], values) for name, values in param.when.items()}
        placed[param.name] = param if when == param.when else param.model_copy(update={"when": when})

    for param in space:
        place(param)
    return tuple(placed.values())


def check_conditions(space: Sequence[Param]) -> None:
    """Refuse a ``when`` that names an unknown or continuous parent, a value it cannot take, or leads back to itself.

    Fields are relative to the search space.
    """
    by_name = {param.name: param for param in space}
    for index, param in enumerate(space):
        for name, values in (param.when or {}).items():
            field = f"{index}/when/{name}"
            parent = by_name.get(name)
            if name == param.name:
                raise refuse("own_parent", f"{name!r} cannot depend on itself", field=field)
            if parent is None:
                raise refuse(
                    "unknown_parent", f"{param.name!r} depends on {name!r}, which is no parameter", field=field
                )
            if isinstance(parent, FloatParam):
                message = f"{param.name!r} depends on {name!r}, a float: want a categorical, int or fixed parameter"
                raise refuse("continuous_parent", message, field=field)
            for value in values:
                if (complaint := parent.complaint(value)) is not None:
                    raise refuse("value_not_in_space", f"{name!r} {complaint}", field=field)
    _refuse_cycles(space, by_name)


def _refuse_cycles(space: Sequence[Param], by_name: Mapping[str, Param]) -> None:
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            circle = " -> ".join(repr(one) for one in [*path[path.index(name) :], name])
            index = next(index for index, param in enumerate(space) if param.name == name)
            raise refuse(
                "circular_condition", f"conditions must not form a circle, got {circle}", field=f"{index}/when"
            )
        if name not in done:
            for parent in by_name[name].when or {}:
                visit(parent, [*path, name])
            done.add(name)

    for param in space:
        visit(param.name, [])


def _among(value: Value, values: Sequence[Value]) -> bool:
    return any(type(value) is type(one) and value == one for one in values)


def _spellings(parent: Param, values: Sequence[Value]) -> tuple[Value, ...]:
    """Every way to write the points of ``parent`` that ``values`` mean."""
    if not isinstance(parent, CategoricalParam | FixedParam):
        return tuple(values)
    found: dict[tuple[type, Value], Value] = {}
    for value in values:
        meant = parent.index(value)
        ways: list[Value] = [parent.point(meant)]
        if is_number(ways[0]):
            number = ways[0]
            assert not isinstance(number, str)
            ways += [float(number)] + ([int(number)] if float(number).is_integer() else [])
        for way in ways:
            if parent.complaint(way) is None and parent.index(way) == meant:
                found[type(way), way] = way
    return tuple(found.values())
