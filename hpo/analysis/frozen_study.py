"""Trials as Optuna's evaluators and figures want them: a study that only reads."""

import json
from collections.abc import Container, Sequence
from html import escape
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo.analysis.observations import Observation
from hpo.domain.history import ParamValue
from hpo.spec.search import Objective
from hpo.spec.space import CategoricalParam, FixedParam, FloatParam, Param, is_number


class FrozenStudy(Study):
    """Optuna's study over trials that are there already, whatever their numbers; it has no storage."""

    def __init__(self, trials: Sequence[FrozenTrial], objectives: Sequence[Objective], name: str = "study") -> None:
        # Not Study's own: it wants a storage, which numbers trials anew and copies each of them at every look.
        self.study_name = name
        self._frozen = list(trials)
        self._directions = [StudyDirection[objective.direction.upper()] for objective in objectives]
        self._metrics = [objective.metric for objective in objectives]

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        """All trials or those in ``states``, never copied: nothing here changes them."""
        return [trial for trial in self._frozen if states is None or trial.state in states]

    @property
    def metric_names(self) -> list[str] | None:
        return self._metrics


class Label(str):
    """A choice as people read it. Optuna shows the ``repr`` of choices, which would put words into quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def label(choice: ParamValue) -> Label:
    """plotly takes its texts for HTML."""
    return Label(escape(choice if isinstance(choice, str) else json.dumps(choice), quote=False))


def numeric_choices(param: CategoricalParam) -> bool:
    return all(is_number(choice) for choice in param.choices)


def shown_distribution(param: Param) -> BaseDistribution:
    """What Optuna's figures are told of a parameter, with choices as labels, or as numbers where all of them are."""
    if isinstance(param, CategoricalParam):
        if numeric_choices(param):
            return CategoricalDistribution(tuple(dict.fromkeys(param.choices)))  # to a figure 1 and 1.0 are one
        return CategoricalDistribution(tuple(label(choice) for choice in param.choices))
    return _numeric(param)


def shown_value(param: Param, value: ParamValue) -> Any:
    if isinstance(param, CategoricalParam) and not numeric_choices(param):
        return label(value)
    return value


def coded_distribution(param: Param, *, one_hot: bool = True) -> BaseDistribution:
    """What Optuna's evaluators are told of the codes of a parameter: choices count from 0.

    Ordered choices are a grid of numbers, and so are all without ``one_hot``.
    """
    if isinstance(param, CategoricalParam):
        if one_hot and not param.ordered:
            return CategoricalDistribution(tuple(range(len(param.choices))))
        return IntDistribution(0, len(param.choices) - 1)
    return _numeric(param)


def coded_value(param: Param, value: ParamValue) -> Any:
    """Raises ValueError if the value is no choice of the parameter."""
    return param.index(value) if isinstance(param, CategoricalParam) else value


def _numeric(param: Param) -> BaseDistribution:
    assert not isinstance(param, CategoricalParam | FixedParam)
    # The last point of the grid and not ``high``: Optuna warns of a range that is no multiple of the step.
    high = param.high if param.grid_size is None else param.point(param.grid_size - 1)
    if isinstance(param, FloatParam):
        return FloatDistribution(float(param.low), float(high), log=param.log, step=param.step)
    return IntDistribution(param.low, int(high), log=param.log, step=param.step)


def frozen(
    one: Observation, params: dict[str, Any], distributions: dict[str, BaseDistribution], *, constrained: bool
) -> FrozenTrial:
    """A complete trial of Optuna: of all others its figures and evaluators leave out what they were measured at."""
    trial = FrozenTrial(
        number=one.number,
        state=TrialState.COMPLETE,
        value=None,
        values=list(one.values),
        datetime_start=None,
        datetime_complete=None,
        params=params,
        distributions=distributions,
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=one.number,
    )
    if constrained:
        trial.set_constraint("outcome", 0.0 if one.feasible else 1.0)
    return trial
