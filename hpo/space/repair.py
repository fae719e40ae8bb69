"""Points of a space in which hardly any random point keeps the rules: constructed instead of waited for."""

import math
from collections.abc import Sequence

import numpy as np

from hpo.domain.errors import FieldError, InvalidSpec
from hpo.domain.history import Params, ParamValue
from hpo.space.definition import Space, broken_rule
from hpo.space.polytope import Polytope, variables_of
from hpo.space.values import draw, draw_between
from hpo.spec.conditions import is_active
from hpo.spec.grid import INACTIVE, Digits, GridTooLarge, allowed_digits
from hpo.spec.rules import LinearRule
from hpo.spec.space import FloatParam, IntParam, Param

TRIES = 30
SWEEPS = 4


class EmptySpace(InvalidSpec):
    """No configuration that keeps every rule of the space was found."""

    def __init__(self, message: str) -> None:
        super().__init__(FieldError("/search_space", "empty_space", message))


def construct(space: Space, params: Params, rng: np.random.Generator) -> Params:
    """A point that keeps all rules, near ``params`` if that can be. Raises EmptySpace if none is found.

    What the forbidden combinations speak of is drawn from the list of what they leave. The linear rules are met by
    moving a random point to the nearest one that keeps them (a mixed-integer program), then drawing its coordinates
    anew one by one from what the rules leave of each range: Gibbs sampling (Geman and Geman 1984). A space without a
    continuous parameter is listed whole where it is small enough: then the answer is exact.
    """
    moved = _moved(space, params, rng)
    if moved is not None and broken_rule(space, moved) is None:
        return moved
    skeleton = _skeleton(space)
    for _ in range(TRIES):
        drawn = _drawn(space, skeleton, rng)
        if drawn is None:
            break
        moved = _moved(space, drawn, rng)
        if moved is not None and broken_rule(space, moved) is None:
            return moved
    raise EmptySpace("no configuration keeps all of forbidden and space_constraints, or hardly any does: loosen them")


def _skeleton(space: Space) -> tuple[tuple[Param, ...], Digits] | None:
    """The allowed combinations of as many parameters as can be listed; None if there are too many of any."""
    everything = {param.name for param in space if param.grid_size is not None}
    # Parents are never floats, so either set holds the parents of its members.
    decisive = {name for clause in space.forbidden for name in clause} & everything
    for param in reversed(space.params):
        if param.name in decisive or param.name in space.parents:
            decisive |= {param.name, *(param.when or {})}
    for names in (everything, decisive):
        members = tuple(param for param in space if param.name in names)
        forbidden = tuple(clause for clause in space.forbidden if clause.keys() <= names)
        rules = tuple(rule for rule in space.rules if rule.names <= names)
        if members:
            try:
                return members, allowed_digits(members, forbidden, rules)
            except GridTooLarge:
                continue
    return None


def _drawn(
    space: Space, skeleton: tuple[tuple[Param, ...], Digits] | None, rng: np.random.Generator
) -> dict[str, ParamValue] | None:
    """A random configuration whose listed part is allowed; None if no part is."""
    listed: dict[str, ParamValue] = {}
    if skeleton is not None:
        members, digits = skeleton
        if not len(digits):
            return None
        row = digits[int(rng.integers(len(digits)))].tolist()
        pairs = zip(members, row, strict=True)
        listed = {param.name: param.point(digit) for param, digit in pairs if digit != INACTIVE}
    params: dict[str, ParamValue] = {}
    for param in space:
        if is_active(param, params):
            params[param.name] = listed[param.name] if param.name in listed else draw(param, rng)
    return params


def _moved(space: Space, given: Params, rng: np.random.Generator) -> Params | None:
    """The configuration with its numbers moved to where the linear rules hold; None if that cannot be."""
    params = dict(given)
    rules = [rule for rule in space.rules if rule.applies(params)]
    if not rules:
        return params
    if not all(rule.holds(params) for rule in rules):
        nearest = Polytope(space, rules, params, constants=space.parents).nearest(params)
        if nearest is None:
            return None
        params = params | nearest
    # A parent that changed would change which parameters there are.
    variables = [one for one in variables_of(space, rules) if one.name not in space.parents]
    for _ in range(SWEEPS):
        for position in rng.permutation(len(variables)):
            param = variables[position]
            _redraw(param, [rule for rule in rules if param.name in rule.names], params, rng)
    return params


def _redraw(
    param: FloatParam | IntParam,
    rules: Sequence[LinearRule],
    params: dict[str, ParamValue],
    rng: np.random.Generator,
) -> None:
    """A new value from what the rules leave of the range, the others being as they are."""
    low, high = float(param.low), float(param.high)
    for rule in rules:
        rest = math.fsum(c * float(params[name]) for name, c in rule.coefficients if name != param.name)
        coefficient = dict(rule.coefficients)[param.name]
        limit = (rule.bound - rest) / coefficient
        low, high = (low, min(high, limit)) if coefficient > 0 else (max(low, limit), high)
    before = params[param.name]
    value = draw_between(param, low, high, rng=rng)
    if value is not None:
        params[param.name] = value
        if not all(rule.holds(params) for rule in rules):  # the end of a strict rule, or rounding
            params[param.name] = before
