"""Strategies for search spaces."""

from hypothesis import strategies as st

from hpo.spec.space import CategoricalParam, FloatParam, IntParam, Param


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
    pool: list[bool | int | float | str] = [True, False, 0, 1, 2, 1.0, 0.5, "relu", "", "1"]
    unique = st.lists(st.sampled_from(pool), min_size=1, unique_by=lambda choice: (type(choice), choice))
    return CategoricalParam(type="categorical", name=name, choices=tuple(draw(unique)))


def params(name: str) -> st.SearchStrategy[Param]:
    return st.one_of(float_params(name), int_params(name), categorical_params(name))


spaces = st.integers(1, 5).flatmap(lambda n: st.tuples(*(params(f"p{index}") for index in range(n))))
