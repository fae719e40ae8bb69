"""Strategies for search spaces."""

from typing import Any

from hypothesis import strategies as st

from hpo.space.space import Space
from hpo.spec.space import CategoricalParam, FixedParam, FloatParam, IntParam, Param
from hpo.spec.study import StudySpec

POOL: list[bool | int | float | str] = [True, False, 0, 1, 2, 1.0, 0.5, "relu", "", "1"]


@st.composite
def float_params(draw: st.DrawFn, name: str = "x") -> FloatParam:
    log = draw(st.booleans())
    low = draw(st.floats(1e-12, 1e6) if log else st.floats(-1e6, 1e6))
    high = low + draw(st.floats(1e-6, 1e6))
    step = None if log else draw(st.none() | st.floats(1e-3, 1.0).map(lambda share: share * (high - low)))
    return FloatParam(type="float", name=name, low=low, high=high, log=log, step=step)


@st.composite
def int_params(draw: st.DrawFn, name: str = "k") -> IntParam:
    log = draw(st.booleans())
    low = draw(st.integers(1 if log else -(10**9), 10**9))
    width = draw(st.integers(1, 10**6))
    step = 1 if log else draw(st.integers(1, width))
    return IntParam(type="int", name=name, low=low, high=low + width, log=log, step=step)


@st.composite
def categorical_params(draw: st.DrawFn, name: str = "c") -> CategoricalParam:
    unique = st.lists(st.sampled_from(POOL), min_size=1, unique_by=lambda choice: (type(choice), choice))
    return CategoricalParam(type="categorical", name=name, choices=tuple(draw(unique)))


def fixed_params(name: str) -> st.SearchStrategy[FixedParam]:
    return st.sampled_from(POOL).map(lambda value: FixedParam(type="fixed", name=name, value=value))


def params(name: str) -> st.SearchStrategy[Param]:
    return st.one_of(float_params(name), int_params(name), categorical_params(name), fixed_params(name))


plain_tuples = st.integers(1, 5).flatmap(lambda n: st.tuples(*(params(f"p{index}") for index in range(n))))
spaces = plain_tuples.map(Space)


@st.composite
def small_params(draw: st.DrawFn, name: str, *, continuous: bool) -> dict[str, Any]:
    """A parameter of few values, or a continuous one; floats are multiples of 1/4, so that sums of them are exact."""
    kind = draw(st.sampled_from(["int", "categorical", "fixed", "stepped"] + ["float"] * continuous))
    if kind == "categorical":
        unique = st.lists(st.sampled_from(POOL), min_size=1, max_size=4, unique_by=lambda one: (type(one), one))
        return {"type": kind, "name": name, "choices": draw(unique), "ordered": draw(st.booleans())}
    if kind == "fixed":
        return {"type": kind, "name": name, "value": draw(st.sampled_from(POOL))}
    low = draw(st.integers(-3, 3))
    if kind == "int":
        return {"type": kind, "name": name, "low": low, "high": low + draw(st.integers(1, 4))}
    if kind == "stepped":
        width = draw(st.integers(1, 3))
        return {"type": "float", "name": name, "low": low / 4, "high": (low + width) / 4, "step": 0.25}
    return {"type": kind, "name": name, "low": low, "high": low + draw(st.sampled_from([1, 2.5]))}


def values_of(param: dict[str, Any]) -> list[Any]:
    """Values that a parameter of ``small_params`` can take: all of a finite one, both ends of a continuous one."""
    if param["type"] == "categorical":
        return list(param["choices"])
    if param["type"] == "fixed":
        return [param["value"]]
    if param["type"] == "int":
        return list(range(param["low"], param["high"] + 1))
    step = param.get("step") or param["high"] - param["low"]
    return [param["low"] + index * step for index in range(round((param["high"] - param["low"]) / step) + 1)]


def is_numeric(param: dict[str, Any]) -> bool:
    if param["type"] == "fixed":
        return isinstance(param["value"], (int, float)) and not isinstance(param["value"], bool)
    return param["type"] in ("int", "float")


@st.composite
def rule_texts(draw: st.DrawFn, names: list[str]) -> str:
    factors, signs = st.sampled_from(["", "2*", "-", "0.5*"]), st.sampled_from(["<", "<=", ">", ">="])
    one, other = draw(st.sampled_from(names)), draw(st.sampled_from(names))
    left = f"{draw(factors)}{one} - {draw(factors)}{other}" if one != other else f"{draw(factors)}{one}"
    right = f" {draw(signs)} {draw(st.integers(-4, 8))}" if draw(st.booleans()) else ""
    return f"{draw(st.integers(-8, 4))} {draw(signs)} {left}{right}"


@st.composite
def ruled_studies(draw: st.DrawFn, *, continuous: bool) -> StudySpec:
    """Studies whose parameters have conditions on each other, forbidden combinations and linear rules."""
    space = [draw(small_params(f"p{index}", continuous=continuous)) for index in range(draw(st.integers(1, 5)))]
    for index, param in enumerate(space):
        parents = [other for other in space[:index] if other["type"] != "float"]
        conditional: bool = draw(st.booleans())
        if parents and conditional:
            chosen = draw(_distinct(parents, 2))
            param["when"] = {one["name"]: draw(_some(values_of(one))) for one in chosen}
    clauses = _distinct(space, 3)
    forbidden = [
        {one["name"]: draw(_some(values_of(one))) for one in clause} for clause in draw(st.lists(clauses, max_size=2))
    ]
    numbers = [param["name"] for param in space if is_numeric(param)]
    rules = draw(st.lists(rule_texts(numbers), max_size=2)) if numbers else []
    space = draw(st.permutations(space))  # parents may stand behind their children
    return StudySpec.model_validate(
        {
            "name": "ruled",
            "objectives": [{"metric": "loss", "direction": "minimize"}],
            "search_space": space,
            "forbidden": forbidden,
            "space_constraints": rules,
            "sampler": {"type": "grid", "seed": 1},
            "trainer": {"name": "external"},
            "budget": {"max_trials": 100_000},
        }
    )


def _distinct(params: list[dict[str, Any]], most: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(st.sampled_from(params), min_size=1, max_size=most, unique_by=lambda param: str(param["name"]))


def _some(values: list[Any]) -> st.SearchStrategy[Any]:
    """One of the values by itself, or a list of some."""
    return st.sampled_from(values) | st.lists(st.sampled_from(values), min_size=1, max_size=3)
