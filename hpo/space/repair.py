"""Points of a space in which hardly any random point keeps the rules: constructed instead of waited for."""

import math
from collections.abc import Container, Hashable, Mapping, Sequence

import numpy as np

from hpo.domain.errors import FieldError, InvalidSpec
from hpo.domain.history import Params, ParamValue
from hpo.space.definition import Space, broken_rule
from hpo.space.polytope import Polytope, SearchCutOff, variables_of
from hpo.space.values import draw, draw_between
from hpo.spec.conditions import is_active
from hpo.spec.grid import INACTIVE, Digits, GridTooLarge, allowed_digits
from hpo.spec.rules import LinearRule
from hpo.spec.space import CategoricalParam, FloatParam, IntParam, Param, value_key

TRIES = 30
UNLISTED = 4  # the first tries
MAX_CUT_OFF = 2  # of searches that may take a second each
SWEEPS = 4
STEPS = 5_000  # of stepping forwards and back
DRAWS = 8  # of a number, before the parameter ahead of it is changed
Skeleton = tuple[tuple[Param, ...], Digits]  # parameters and the combinations of their values that are allowed


class EmptySpace(InvalidSpec):
    """No configuration that keeps every rule of the space was found."""

    def __init__(self, message: str) -> None:
        super().__init__(FieldError("/search_space", "empty_space", message))


def construct(space: Space, params: Params, rng: np.random.Generator) -> Params:
    """A point that keeps all rules, near ``params`` if that can be. Raises EmptySpace if none is found.

    Forbidden combinations are avoided by search, parameter by parameter. The linear rules are met by moving a random
    point to the nearest one that keeps them (a mixed-integer program), then drawing its coordinates anew one by one
    from what the rules leave of each range: Gibbs sampling (Geman and Geman 1984). Where that fails a few times, what
    can be listed is drawn from the list of allowed combinations, which finds any point of a small finite space.
    """
    skeleton: Skeleton | None = None
    cut_off = 0
    for attempt in range(TRIES):
        if attempt == UNLISTED:  # late, since listing takes long where the list is long
            skeleton = _skeleton(space)
        drawn = params if attempt == 0 else _drawn(space, skeleton, rng)
        if drawn is None:
            continue
        try:
            moved = _moved(space, drawn, rng)
        except SearchCutOff:
            cut_off += 1
            if cut_off == MAX_CUT_OFF:
                raise EmptySpace(
                    "the linear rules of the space are too hard to meet: use fewer or simpler ones"
                ) from None
            continue
        if moved is not None and broken_rule(space, moved) is None:
            return moved
    raise EmptySpace("no configuration keeps all of forbidden and space_constraints, or hardly any does: loosen them")


def _skeleton(space: Space) -> Skeleton | None:
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


def _drawn(space: Space, skeleton: Skeleton | None, rng: np.random.Generator) -> dict[str, ParamValue] | None:
    """A random configuration without a forbidden combination; None if there is none, or none was found in time.

    What is listed is taken from the list. The rest is drawn parameter by parameter, stepping back where a combination
    is completed whatever the value.
    """
    listed: dict[str, ParamValue] = {}
    if skeleton is not None:
        members, digits = skeleton
        if not len(digits):
            return None
        row = digits[int(rng.integers(len(digits)))].tolist()
        listed = {p.name: p.point(digit) for p, digit in zip(members, row, strict=True) if digit != INACTIVE}
    params: dict[str, ParamValue] = {}
    waiting = [_candidates(space.params[0], params, listed, rng=rng)]
    for _ in range(STEPS):
        if not waiting:
            return None
        position = len(waiting) - 1
        param = space.params[position]
        params.pop(param.name, None)
        if not waiting[-1]:
            waiting.pop()
            continue
        value = waiting[-1].pop()
        if value is not None:
            params[param.name] = value
            if any(param.name in clause and _has(space, params, clause) for clause, _ in space.clauses):
                continue
        if position == len(space) - 1:
            return params
        waiting.append(_candidates(space.params[position + 1], params, listed, rng=rng))
    return None


def _candidates(param: Param, params: Params, listed: Params, *, rng: np.random.Generator) -> list[ParamValue | None]:
    """Values to try, the last one first: all of a short list, some of many; None stands for an inactive parameter."""
    if not is_active(param, params):
        return [None]
    if param.name in listed:
        return [listed[param.name]]
    if isinstance(param, CategoricalParam):
        return [param.point(int(index)) for index in rng.permutation(param.grid_size)]
    return [draw(param, rng) for _ in range(DRAWS)]


def _has(space: Space, params: Params, clause: Mapping[str, Container[Hashable]]) -> bool:
    return all(name in params and value_key(space.by_name[name], params[name]) in keys for name, keys in clause.items())


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
