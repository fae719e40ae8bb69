"""The points of a space without a continuous parameter, counted and numbered."""

import math
from collections.abc import Iterator

from hpo.domain.history import Params, ParamValue
from hpo.space.definition import Space
from hpo.spec.grid import INACTIVE, Digits, GridTooLarge, allowed_digits


def grid_size(space: Space) -> int:
    """Number of points of the grid: distinct configurations that keep all rules.

    Raises ValueError if a parameter is continuous, and GridTooLarge (a ValueError) if conditions or rules make it
    necessary to list the points and there are more than hpo.spec.grid lists.
    """
    if not space.is_plain:
        return len(_digits(space))
    sizes = [param.grid_size for param in space]
    if None in sizes:
        raise ValueError(f"{space.params[sizes.index(None)].name} is continuous: it has no grid")
    return math.prod(size for size in sizes if size is not None)


def grid_point(space: Space, index: int) -> Params:
    """The ``index``-th point of the grid, the last parameter turning fastest. Raises as ``grid_size``."""
    if not space.is_plain:
        return _point(space, _digits(space)[index].tolist())
    digits: list[int] = []
    for param in reversed(space.params):
        index, digit = divmod(index, param.grid_size or 1)
        digits.append(digit)
    return _point(space, digits[::-1])


def points(space: Space) -> Iterator[Params]:
    """Every configuration, once; none at all if a parameter is continuous or there are more than a list may hold."""
    if any(param.grid_size is None for param in space):
        return
    try:
        listed = _digits(space)
    except GridTooLarge:
        return
    for row in listed:
        yield _point(space, row.tolist())


def _digits(space: Space) -> Digits:
    return allowed_digits(space.params, space.forbidden, space.rules)


def _point(space: Space, digits: list[int]) -> dict[str, ParamValue]:
    pairs = zip(space.params, digits, strict=True)
    return {param.name: param.point(digit) for param, digit in pairs if digit != INACTIVE}
