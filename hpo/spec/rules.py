"""Rules between parameters: linear inequalities written as text, and forbidden combinations of values."""

import ast
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from hpo.spec.base import refuse
from hpo.spec.space import MAX_CHOICES_IN_ALL, CategoricalParam, FixedParam, Param, is_number

Value = bool | int | float | str
MAX_RULES = 100
MAX_RULE_LENGTH = 500
MAX_FORBIDDEN = 1_000
MAX_NESTING = 260  # of operations; a sum of as many terms as 500 characters hold is nested this deep
ROUNDING = 1e-9  # of the size of the terms: 0.7 + 0.2 + 0.1 is meant to be 1

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_.]*)|(?P<sign><=|>=|[-+*/()<>]))"
)


@dataclass(frozen=True)
class LinearRule:
    """``sum(coefficient * value) <= bound``, or ``<`` if ``strict``; ``text`` is what the user wrote."""

    coefficients: tuple[tuple[str, float], ...]
    bound: float
    strict: bool
    text: str

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.coefficients)

    @cached_property
    def whole(self) -> bool:
        return self.bound.is_integer() and all(coefficient.is_integer() for _, coefficient in self.coefficients)

    def applies(self, params: Mapping[str, Value]) -> bool:
        """A rule about an inactive parameter says nothing."""
        return all(name in params for name, _ in self.coefficients)

    def holds(self, params: Mapping[str, Value]) -> bool:
        """Within rounding, which counts as equal; among whole numbers there is none."""
        if not self.applies(params):
            return True
        values = [params[name] for name, _ in self.coefficients]
        if self.whole and all(isinstance(value, int) for value in values):
            # As whole numbers: 2**53 is no bound to them, and 2**53 - 1 < 2**53 is true.
            total = sum(int(c) * int(value) for (_, c), value in zip(self.coefficients, values, strict=True))
            return total < int(self.bound) if self.strict else total <= int(self.bound)
        terms = [c * float(value) for (_, c), value in zip(self.coefficients, values, strict=True)]
        excess = math.fsum(terms) - self.bound
        slack = ROUNDING * (sum(map(abs, terms)) + abs(self.bound))
        return excess < -slack if self.strict else excess <= slack


def parse_rule(text: str) -> tuple[LinearRule, ...]:
    """``a < b``, ``2*x - 0.5*y >= 3``, ``a < b <= c``: one rule for every pair that is compared.

    Raises a PydanticCustomError, which a validator passes on, where the text is no linear comparison.
    """
    if len(text) > MAX_RULE_LENGTH:
        raise refuse("rule_too_long", f"a rule has at most {MAX_RULE_LENGTH} characters, got {len(text)}")
    source, names = _placeholders(text)
    try:
        tree = ast.parse(source, mode="eval").body
    except (SyntaxError, MemoryError, RecursionError):  # the latter two from nested parentheses
        raise _not_a_rule(text, "a sum of parameters, a comparison, a sum") from None
    if not isinstance(tree, ast.Compare):
        raise _not_a_rule(text, "a comparison with <, <=, > or >=")
    sides = [_linear(side, names, text) for side in (tree.left, *tree.comparators)]
    return tuple(
        _rule(left, operator, right, text=text)
        for (left, right), operator in zip(pairwise(sides), tree.ops, strict=True)
    )


def check_rules(texts: Sequence[str], space: Sequence[Param]) -> None:
    """Refuse a rule about an unknown parameter or one that is no number."""
    by_name = {param.name: param for param in space}
    for index, text in enumerate(texts):
        field = f"space_constraints/{index}"
        for name in sorted({name for rule in parse_rule(text) for name in rule.names}):
            param = by_name.get(name)
            if param is None:
                raise refuse("unknown_parameter", f"{text!r} names {name!r}, which is no parameter", field=field)
            if isinstance(param, CategoricalParam) or (isinstance(param, FixedParam) and not is_number(param.value)):
                message = f"{text!r} compares {name!r}, which is {param.type}: want a float or int parameter"
                raise refuse("not_a_number", message, field=field)


def check_forbidden(clauses: Sequence[Mapping[str, Sequence[Value]]], space: Sequence[Param]) -> None:
    """Refuse a clause about an unknown parameter or a value that the parameter cannot take."""
    count = sum(len(values) for clause in clauses for values in clause.values())
    if count > MAX_CHOICES_IN_ALL:
        message = f"at most {MAX_CHOICES_IN_ALL} values in all forbidden combinations, got {count}"
        raise refuse("too_many_values", message, field="forbidden")
    by_name = {param.name: param for param in space}
    for index, clause in enumerate(clauses):
        for name, values in clause.items():
            field = f"forbidden/{index}/{name}"
            if name not in by_name:
                message = f"a forbidden combination names {name!r}, which is no parameter"
                raise refuse("unknown_parameter", message, field=field)
            for value in values:
                if (complaint := by_name[name].complaint(value)) is not None:
                    raise refuse("value_not_in_space", f"{name!r} {complaint}", field=field)


def _placeholders(text: str) -> tuple[str, dict[str, str]]:
    """The text with plain names: parameters may be called ``optim.lr`` or ``lambda``, which Python reads otherwise."""
    parts: list[str] = []
    names: dict[str, str] = {}
    at, end = 0, len(text.rstrip())
    while at < end:
        token = _TOKEN.match(text, at)
        if token is None:
            raise _not_a_rule(text, f"numbers, parameter names, + - * / ( ) < <= > >=, got {text[at:].strip()[:10]!r}")
        at = token.end()
        if (name := token["name"]) is not None:
            parts.append(f"p{len(names)}")
            names[parts[-1]] = name
        elif (number := token["number"]) is not None:
            if not math.isfinite(float(number)):
                raise _not_a_rule(text, f"numbers that a float can hold, got {number[:20]}")
            parts.append(repr(float(number)))
        else:
            parts.append(token["sign"])
    return " ".join(parts), names


@dataclass(frozen=True)
class _Sum:
    coefficients: Mapping[str, float]
    constant: float

    def times(self, factor: float) -> "_Sum":
        return _Sum({name: c * factor for name, c in self.coefficients.items()}, self.constant * factor)

    def plus(self, other: "_Sum") -> "_Sum":
        names = [*self.coefficients, *(name for name in other.coefficients if name not in self.coefficients)]
        merged = {name: self.coefficients.get(name, 0.0) + other.coefficients.get(name, 0.0) for name in names}
        return _Sum(merged, self.constant + other.constant)


def _linear(node: ast.expr, names: Mapping[str, str], text: str, *, depth: int = 0) -> _Sum:
    if depth > MAX_NESTING:
        raise _not_a_rule(text, f"at most {MAX_NESTING} operations within each other")
    if isinstance(node, ast.Constant):
        return _Sum({}, float(node.value))  # type: ignore[arg-type]  # the tokens admit numbers only
    if isinstance(node, ast.Name):
        return _Sum({names[node.id]: 1.0}, 0.0)
    if isinstance(node, ast.UnaryOp):
        return _linear(node.operand, names, text, depth=depth + 1).times(-1.0 if isinstance(node.op, ast.USub) else 1.0)
    if isinstance(node, ast.BinOp):
        left = _linear(node.left, names, text, depth=depth + 1)
        right = _linear(node.right, names, text, depth=depth + 1)
        return _combined(left, node.op, right, text=text)
    raise _not_a_rule(text, "sums of parameters and numbers on both sides of the comparison")


def _combined(left: _Sum, operator: ast.operator, right: _Sum, *, text: str) -> _Sum:
    if isinstance(operator, ast.Add):
        return left.plus(right)
    if isinstance(operator, ast.Sub):
        return left.plus(right.times(-1.0))
    if isinstance(operator, ast.Mult) and not (left.coefficients and right.coefficients):
        return right.times(left.constant) if right.coefficients else left.times(right.constant)
    if isinstance(operator, ast.Div) and not right.coefficients:
        if right.constant == 0:
            raise _not_a_rule(text, "no division by zero")
        return _Sum({n: c / right.constant for n, c in left.coefficients.items()}, left.constant / right.constant)
    raise _not_a_rule(text, "parameters times or divided by numbers only, nothing but + - * /")


def _rule(left: _Sum, operator: ast.cmpop, right: _Sum, *, text: str) -> LinearRule:
    if isinstance(operator, ast.Gt | ast.GtE):
        left, right = right, left
    difference = left.plus(right.times(-1.0))
    coefficients = tuple((name, c) for name, c in difference.coefficients.items() if c != 0)
    if not coefficients:
        raise _not_a_rule(text, "at least one parameter in every comparison, which does not cancel out")
    if not all(math.isfinite(number) for number in (difference.constant, *(c for _, c in coefficients))):
        raise _not_a_rule(text, "coefficients that a float can hold")
    # 0.0 added: minus zero is a bound that reads badly.
    return LinearRule(coefficients, 0.0 - difference.constant, isinstance(operator, ast.Lt | ast.Gt), text)


def _not_a_rule(text: str, wanted: str) -> Exception:
    shown = text if len(text) <= 80 else text[:79] + "…"
    return refuse("not_a_linear_rule", f"cannot read the rule {shown!r}: want {wanted}")
