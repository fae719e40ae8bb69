"""How a member of a population changes what it copied: perturb or resample (Jaderberg et al. 2017, section 4.1)."""

import numpy as np

from hpo.domain.history import Params, ParamValue
from hpo.space.space import Space, broken_rule, is_active
from hpo.space.values import choice_index, draw, grid_value
from hpo.spec.schedulers import PbtSpec
from hpo.spec.space import CategoricalParam, FixedParam, Param
from hpo.spec.study import StudySpec

TRIES = 50


def explore(spec: StudySpec, space: Space, source: Params, *, trial: int, rung: int) -> Params:
    """The source's params with the mutable ones changed; the source's own if no change keeps the rules of the space."""
    pbt = spec.chosen_scheduler
    assert isinstance(pbt, PbtSpec), "only a population explores"
    assert spec.sampler.seed is not None, "filled in when the study was created"
    rng = np.random.default_rng([spec.sampler.seed, trial, rung, 0xE])
    mutable = [
        param
        for param in space
        if not isinstance(param, FixedParam)
        and (pbt.mutate is None or param.name in pbt.mutate)
        and is_active(param, source)
    ]
    for _ in range(TRIES):
        changed = {param.name: _changed(param, source[param.name], pbt, rng) for param in mutable}
        params = {**source, **changed}
        if broken_rule(space, params) is None:
            return params
    return source


def _changed(param: Param, value: ParamValue, pbt: PbtSpec, rng: np.random.Generator) -> ParamValue:
    if rng.random() < pbt.resample_probability:
        return draw(param, rng)
    up = bool(rng.integers(2))
    if isinstance(param, CategoricalParam):
        at = choice_index(param, value)
        assert at is not None, "a value of the space"
        # Without an order there are no neighbours: perturbing keeps the choice, resampling changes it.
        return param.choices[min(max(at + (1 if up else -1), 0), len(param.choices) - 1)] if param.ordered else value
    assert not isinstance(param, FixedParam)
    wanted = float(value) * pbt.factors[up]
    held = min(max(wanted, float(param.low)), float(param.high))
    if param.grid_size is None:
        return held
    index = round((held - param.low) / (param.step or 1))
    here = round((float(value) - param.low) / (param.step or 1))
    if index == here and wanted != float(value):  # a factor that does not reach the next point moves to it all the same
        index += 1 if wanted > float(value) else -1
    return grid_value(param, min(max(index, 0), param.grid_size - 1))
