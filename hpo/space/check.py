"""Is there any configuration in a study's space, and are the enqueued ones in it?"""

from bisect import bisect_left
from collections.abc import Iterator

import numpy as np

from hpo.domain.errors import FieldError
from hpo.space.space import Space, problems, sample
from hpo.spec.rules import LinearRule, parse_rule
from hpo.spec.space import FixedParam
from hpo.spec.study import StudySpec


def space_errors(spec: StudySpec) -> list[FieldError]:
    """All that is wrong, with pointers into the spec; empty if the space has a point and holds what is enqueued."""
    space = Space.of(spec)
    return [*_empty_errors(spec, space)] or [*_enqueue_errors(spec, space)]


def _empty_errors(spec: StudySpec, space: Space) -> Iterator[FieldError]:
    if space.is_plain:
        return
    # Imported where it is needed: it brings scipy.optimize, and most spaces have no rules.
    from hpo.space.repair import EmptySpace

    contradiction = _contradiction(spec, space) if spec.space_constraints else None
    if contradiction is not None:
        yield contradiction
        return
    try:
        sample(space, np.random.default_rng(0))
    except EmptySpace as empty:
        yield from empty.errors


def _contradiction(spec: StudySpec, space: Space) -> FieldError | None:
    """The first linear rule that cannot be kept beside those before it, by the parameters that are always active."""
    from hpo.space.polytope import Polytope

    always = {param.name for param in space if param.when is None}
    fixed = {param.name: param.value for param in space if isinstance(param, FixedParam)}
    parsed = [[rule for rule in parse_rule(text) if rule.names <= always] for text in spec.space_constraints]

    def impossible(texts: list[list[LinearRule]]) -> bool:
        rules = [rule for text in texts for rule in text]
        return bool(rules) and Polytope(space, rules, fixed).is_empty

    if not impossible(parsed):
        return None
    # More rules never leave more points, so the first impossible one is found by halving.
    first = bisect_left(range(len(parsed)), True, key=lambda last: impossible(parsed[: last + 1]))
    first = min(first, len(parsed) - 1)  # a search that was cut off may have missed what the whole one found
    why = "" if impossible([parsed[first]]) else " together with the rules before it"
    message = f"no configuration keeps {spec.space_constraints[first]!r}{why}"
    return FieldError(f"/space_constraints/{first}", "empty_space", message)


def _enqueue_errors(spec: StudySpec, space: Space) -> Iterator[FieldError]:
    for index, params in enumerate(spec.enqueue):
        for error in problems(space, params):
            yield FieldError(f"/enqueue/{index}{error.pointer}", error.code, error.message)
