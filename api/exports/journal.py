"""A study as a journal that Optuna's ``JournalStorage`` opens, written by that class itself, a page at a time."""

import json
import math
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import partial
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import Row

from api.exports.lines import Export
from api.views import trial_read
from hpo.spec.space import CategoricalParam, FixedParam, IntParam, Param
from hpo.storage import exports

optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would print a line for every export

# Optuna has no paused trials: what may still go on counts as running there.
_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "cancelled": TrialState.FAIL,
    "running": TrialState.RUNNING,
    "paused": TrialState.RUNNING,
    "queued": TrialState.RUNNING,
}


class _Page(BaseJournalBackend):
    """A journal of which only the beginning and the newest page are kept: what is written is handed on."""

    def __init__(self, begun: list[dict[str, Any]]) -> None:
        self.logs = list(begun)

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.logs += json.loads(json.dumps(logs))  # as they are read back from a file

    def lines(self, past: int) -> bytes:
        return b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in self.logs[past:])


def journal_lines(export: Export) -> Iterator[bytes]:
    """The study and its trials: states, values, params with distributions, curves; what Ladder adds as attributes."""
    spec = export.definition.spec
    begun = _Page([])
    storage = JournalStorage(begun)
    directions = [StudyDirection[one.direction.upper()] for one in spec.objectives]
    study = storage.create_new_study(directions, spec.name)
    # Where Study.set_metric_names keeps them, which is marked experimental and warns.
    storage.set_study_system_attr(study, "study:metric_names", [one.metric for one in spec.objectives])
    storage.set_study_user_attr(study, "ladder:study_id", str(export.study))
    yield begun.lines(0)
    params = {param.name: param for param in spec.search_space}
    distributions = {name: _distribution(param) for name, param in params.items()}
    after = -1
    while True:
        rows = export.db.read(partial(exports.curves, study=export.study, after=after))
        # A storage of its own for every page, which knows the study and none of its trials: one for all would keep
        # every trial in memory.
        page = _Page(begun.logs)
        storage = JournalStorage(page)
        for row in rows:
            storage.create_new_trial(study, _trial(row, export, params, distributions))
        yield page.lines(len(begun.logs))
        if len(rows) < exports.CURVES_PAGE:
            return
        after = rows[-1].number


def _trial(
    row: Row[Any], export: Export, params: dict[str, Param], distributions: dict[str, BaseDistribution]
) -> FrozenTrial:
    spec = export.definition.spec
    read = trial_read(row, export.definition)
    # What the space does not hold (any more) cannot stand with a distribution: it is told as an attribute.
    known = {
        name: value for name, value in row.params.items() if name in params and params[name].complaint(value) is None
    }
    values = read.values or ([read.value] if len(spec.objectives) == 1 and read.value is not None else None)
    state = _STATES[read.state]
    if state is TrialState.RUNNING and row.started_at is None:
        state = TrialState.WAITING
    if state is TrialState.COMPLETE and values is None:
        state = TrialState.PRUNED  # it has diverged: Optuna's complete trials have values
    attributes: dict[str, Any] = {
        "ladder:state": str(read.state),
        "ladder:bracket": read.bracket,
        "ladder:rung": read.rung,
        "ladder:attempts": read.attempt,
        "ladder:steps": read.last_step,
    }
    attributes |= {"ladder:non_finite": read.non_finite} if read.non_finite else {}
    attributes |= {"ladder:error": read.error} if read.error else {}
    attributes |= {f"ladder:param:{name}": value for name, value in row.params.items() if name not in known}
    objective = spec.objective
    return _made(
        state=state,
        values=values if state is TrialState.COMPLETE else None,
        params={name: _typed(params[name], value) for name, value in known.items()},
        distributions={name: distributions[name] for name in known},
        intermediate_values={
            step: objective.value(loss)
            for step, loss in zip(row.steps or (), row.losses or (), strict=True)
            if loss is not None and math.isfinite(loss)
        },
        user_attrs=attributes,
        # Optuna takes a trial for feasible whose every constraint is at most 0.
        system_attrs={"constraints": [row.violation]} if spec.constraints and row.rung is not None else {},
        started_at=None if state is TrialState.WAITING else row.started_at or row.created_at,
        finished_at=(row.finished_at or row.updated_at) if state.is_finished() else None,
    )


def _made(*, started_at: Any, finished_at: Any, **fields: Any) -> FrozenTrial:
    made = create_trial(**fields)  # which takes now for both times
    made.datetime_start, made.datetime_complete = started_at, finished_at
    return made


def _typed(param: Param, value: Any) -> Any:
    """JSON does not tell 1 from 1.0; the choices of a category are told apart by type."""
    if isinstance(param, CategoricalParam):
        return param.point(param.index(value))
    if isinstance(param, FixedParam):
        return param.value
    return int(value) if isinstance(param, IntParam) else float(value)


def _distribution(param: Param) -> BaseDistribution:
    if isinstance(param, CategoricalParam):
        return CategoricalDistribution(param.choices)
    if isinstance(param, FixedParam):
        return CategoricalDistribution((param.value,))
    if isinstance(param, IntParam):
        # Optuna warns of an end that the steps do not reach.
        return IntDistribution(param.low, param.point(param.grid_size - 1), log=param.log, step=param.step)
    if param.step is None:
        return FloatDistribution(float(param.low), float(param.high), log=param.log)
    low, step = Decimal(str(param.low)), Decimal(str(param.step))
    return FloatDistribution(float(low), float(low + ((param.grid_size or 1) - 1) * step), step=float(step))
