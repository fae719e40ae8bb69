"""All configurations of a small space, found the slow and obvious way."""

import re
from itertools import product
from typing import Any

from hpo.domain.history import Params
from hpo.spec.study import StudySpec


def reference_points(spec: StudySpec) -> list[Params]:
    """Every combination of values, what is inactive left out, what breaks a rule left out, each once."""
    raw = [[(param.name, param.point(index)) for index in range(param.grid_size or 0)] for param in spec.search_space]
    found: dict[Any, Params] = {}
    for pairs in product(*raw):
        active = active_part(spec, dict(pairs))
        if not breaks_a_rule(spec, active):
            found[identity(active)] = active
    return list(found.values())


def identity(params: Params) -> Any:
    return frozenset((name, type(value), value) for name, value in params.items())


def active_part(spec: StudySpec, full: Params) -> Params:
    whens = {param.name: param.when or {} for param in spec.search_space}
    choices = {param.name: [param.point(i) for i in range(param.grid_size or 0)] for param in spec.search_space}

    def active(name: str) -> bool:
        return all(
            active(parent) and any(same(full[parent], value, choices[parent]) for value in values)
            for parent, values in whens[name].items()
        )

    return {name: value for name, value in full.items() if active(name)}


def same(value: Any, wanted: Any, choices: list[Any]) -> bool:
    """Is ``wanted`` a way to write ``value``? By type, unless only the other type of number is a choice."""
    if type(value) is type(wanted):
        return bool(value == wanted)
    numbers = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in (value, wanted))
    return numbers and value == wanted and not any(type(one) is type(wanted) and one == wanted for one in choices)


def breaks_a_rule(spec: StudySpec, active: Params) -> bool:
    choices = {param.name: [param.point(i) for i in range(param.grid_size or 0)] for param in spec.search_space}
    for clause in spec.forbidden:
        if all(
            name in active and any(same(active[name], value, choices[name]) for value in values)
            for name, values in clause.items()
        ):
            return True
    for text in spec.space_constraints:
        if set(re.findall(r"p\d", text)) <= active.keys() and not eval(text, {}, dict(active)):
            return True
    return False
