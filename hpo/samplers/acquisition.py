"""How promising a point is given a model's mean and deviation there, and the search for the most promising one."""

from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr

from hpo.domain.history import Params
from hpo.samplers.cube import Cube, Matrix, random_units
from hpo.samplers.table import Table
from hpo.space.space import broken_rule

Values = NDArray[np.float64]
ROUNDS = 4  # of local search
STARTS = 10  # the best points known, around which it begins and goes on
STEPS = (0.2, 0.05, 0.0125)  # deviations of a step, as shares of a range; SMAC's is the first


def log_expected_improvement(mean: Values, deviation: Values, incumbent: float) -> Values:
    """Logarithm of the expected improvement below ``incumbent``, exact where the improvement itself underflows.

    After Ament et al. 2023 (LogEI, arXiv:2310.20708), equation 9.
    """
    z = (incumbent - mean) / deviation
    return _log_h(z) + np.log(deviation)


def _log_h(z: Values) -> Values:
    """log(phi(z) + z * Phi(z)), in the tail by way of Mills' ratio and far out by its asymptote."""
    near = np.maximum(z, -1.0)
    found = np.log(np.exp(-(near**2) / 2) / np.sqrt(2 * np.pi) + near * np.exp(log_ndtr(near)))
    tail = np.minimum(z, -1.0)
    log_phi = -(tail**2) / 2 - np.log(2 * np.pi) / 2
    mills = np.sqrt(np.pi / 2) * erfcx(-tail / np.sqrt(2))
    middle = log_phi + np.log1p(-np.minimum(-tail * mills, 1 - 1e-16))
    far = log_phi - 2 * np.log(-tail)
    return cast(Values, np.where(z > -1, found, np.where(z > -1e3, middle, far)))


def most_promising(
    table: Table, starts: Matrix, value: Callable[[Matrix], Values], n_random: int, *, rng: np.random.Generator
) -> Params | None:
    """The point of largest ``value`` among random points and those reached by local search from ``starts``.

    ``starts`` and the argument of ``value`` are codes, [n, parameters]. Points that are known or break a rule of the
    space are passed over; None if all are.
    """
    cube = table.cube
    codes = cube.snap(random_units(cube, n_random, rng))
    if len(starts):
        codes = np.concatenate([codes, neighbours(cube, starts, rng)])
    values = value(codes)
    for _ in range(ROUNDS):
        top = codes[np.argsort(-values, kind="stable")[:STARTS]]
        around = neighbours(cube, top, rng)
        codes, values = np.concatenate([codes, around]), np.concatenate([values, value(around)])
    for index in np.argsort(-values, kind="stable"):
        if not table.seen(codes[index]):
            params = cube.decode(codes[index])
            if broken_rule(cube.space, params) is None:
                return params
    return None


def neighbours(cube: Cube, codes: Matrix, rng: np.random.Generator) -> Matrix:
    """Codes that differ from each row in one parameter, sometimes in more; four for each parameter that is searched.

    A number moves by a step whose size is drawn too, a choice without order is drawn anew.
    """
    searched = np.flatnonzero(cube.searched)
    if not len(searched):
        return codes
    units = np.repeat(cube.units(codes), 4 * len(searched), axis=0)
    unknown = np.isnan(units)  # inactive ones need a value in case that a change of a parent brings them up
    units[unknown] = rng.random(int(unknown.sum()))
    n, width = units.shape
    moved = np.zeros((n, width), dtype=bool)
    moved[np.arange(n), np.tile(np.repeat(searched, 4), len(codes))] = True
    moved |= (rng.random((n, width)) < 1 / (2 * len(searched))) & cube.searched
    scale = rng.choice(STEPS, size=(n, 1))
    # A step on a grid must be able to leave its point.
    least = np.array([0.0 if size is None else 1.0 / size for size in cube.sizes])
    step = rng.normal(size=(n, width)) * np.maximum(scale, least)
    stepped = np.abs(units + step)
    stepped = np.where(stepped > 1, np.maximum(2 - stepped, 0.0), stepped)  # mirrored at the bounds
    stepped[:, cube.unordered] = rng.random((n, int(cube.unordered.sum())))
    return cube.snap(np.where(moved, stepped, units))
