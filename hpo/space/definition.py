"""What a search space is: its parameters, when each is active, and the rules between their values."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from hpo.domain.history import Params, ParamValue
from hpo.spec.conditions import only_active, prepared
from hpo.spec.rules import LinearRule
from hpo.spec.space import Param, value_key
from hpo.spec.study import StudySpec


@dataclass(frozen=True)
class Space:
    """The parameters, parents before the parameters that depend on them, and the rules between their values.

    ``forbidden``: no configuration may match all entries of one of them. Params of a configuration hold the active
    parameters only.
    """

    params: tuple[Param, ...]
    forbidden: tuple[Mapping[str, Sequence[ParamValue]], ...] = ()
    rules: tuple[LinearRule, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", prepared(self.params))

    @classmethod
    def of(cls, spec: StudySpec) -> "Space":
        return cls(spec.search_space, spec.forbidden, spec.rules)

    def __iter__(self) -> Iterator[Param]:
        return iter(self.params)

    def __len__(self) -> int:
        return len(self.params)

    @cached_property
    def by_name(self) -> Mapping[str, Param]:
        return {param.name: param for param in self.params}

    @cached_property
    def parents(self) -> frozenset[str]:
        """Names of the parameters on which a condition hangs."""
        return frozenset(name for param in self.params for name in param.when or ())

    @cached_property
    def is_plain(self) -> bool:
        """Every parameter is always active and every combination of values allowed."""
        return not self.forbidden and not self.rules and all(param.when is None for param in self.params)

    @cached_property
    def clauses(self) -> tuple[tuple[Mapping[str, frozenset[Hashable]], str], ...]:
        """The forbidden combinations, values as ``value_key`` has them, each with its wording."""
        return tuple(
            (
                {
                    name: frozenset(value_key(self.by_name[name], value) for value in values)
                    for name, values in one.items()
                },
                "forbidden: " + ", ".join(f"{name} = {_listed(values)}" for name, values in one.items()),
            )
            for one in self.forbidden
        )


def without_inactive(space: Space, params: Params) -> dict[str, ParamValue]:
    """The values that count, parents first: those of inactive parameters and of unknown ones are left out."""
    return only_active(space.params, params)


def broken_rule(space: Space, params: Params) -> str | None:
    """The wording of a rule that the configuration breaks; None if it keeps them all.

    A rule that names an inactive (missing) parameter does not apply.
    """
    for rule in space.rules:
        if not rule.holds(params):
            return rule.text
    return broken_clause(space, params)


def broken_clause(space: Space, params: Params) -> str | None:
    """The wording of a forbidden combination that the configuration has; None if it has none."""
    for clause, wording in space.clauses:
        if all(
            name in params and value_key(space.by_name[name], params[name]) in keys for name, keys in clause.items()
        ):
            return wording
    return None


def _listed(values: Sequence[ParamValue]) -> str:
    shown = " or ".join(repr(value) for value in values[:5])
    return shown + (" or …" if len(values) > 5 else "")
