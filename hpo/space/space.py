"""A search space as a whole: random points, grid points, and the check of params that a user gives."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hpo.domain.errors import FieldError
from hpo.domain.history import Params, ParamValue
from hpo.space.values import complaint, draw, grid_value
from hpo.spec.space import Param


@dataclass(frozen=True)
class Space:
    """The parameters, parents before the parameters that depend on them, and the rules between their values."""

    params: tuple[Param, ...]

    def __iter__(self) -> Iterator[Param]:
        return iter(self.params)

    def __len__(self) -> int:
        return len(self.params)


def sample(space: Space, rng: np.random.Generator) -> Params:
    """A random point; parameters are drawn in the order in which they stand."""
    return {param.name: draw(param, rng) for param in space}


def grid_size(space: Space) -> int:
    """Number of points of the grid. Raises ValueError if a parameter is continuous."""
    sizes = [param.grid_size for param in space]
    if None in sizes:
        raise ValueError(f"{space[sizes.index(None)].name} is continuous: it has no grid")
    return math.prod(size for size in sizes if size is not None)


def grid_point(space: Space, index: int) -> Params:
    """The ``index``-th point of the grid, the last parameter turning fastest."""
    point: dict[str, ParamValue] = {}
    for param in reversed(space):
        index, digit = divmod(index, param.grid_size or 1)
        point[param.name] = grid_value(param, digit)
    return {param.name: point[param.name] for param in space}


def problems(space: Space, params: Params) -> list[FieldError]:
    """What keeps given params from being a point of the space; pointers are relative to the params."""
    known = {param.name for param in space}
    found = [
        FieldError(f"/{name}", "unknown_parameter", f"{name!r} is not a parameter of this study")
        for name in params
        if name not in known
    ]
    for param in space:
        if param.name not in params:
            found.append(FieldError(f"/{param.name}", "missing_parameter", "a value is wanted for every parameter"))
        elif (message := complaint(param, params[param.name])) is not None:
            found.append(FieldError(f"/{param.name}", "value_not_in_space", message))
    return found
