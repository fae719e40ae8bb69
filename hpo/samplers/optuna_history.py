"""The history of a study in Optuna's terms, kept in step with a growing history at the cost of what changed."""

from bisect import bisect_left, insort
from itertools import compress, islice
from operator import is_not

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from hpo.domain.history import History, ParamValue, TrialRecord
from hpo.domain.trial import TrialState
from hpo.space.space import Space
from hpo.space.values import choice_index, grid_value
from hpo.spec.space import CategoricalParam, FloatParam, IntParam, Param

Rank = tuple[int, int, float, int]
INTERNAL = "internal"  # attribute with the params as numbers, in the order of the distributions


class OptunaHistory:
    """Converted trials of one space, and the order of merit that TPE sees in them.

    Not thread-safe: an owner that asks from several threads keeps one of these for each.
    """

    def __init__(self, space: Space) -> None:
        self.distributions = {param.name: distribution(param) for param in space}
        self._space = space
        self._records: list[TrialRecord] = []
        self._trials: list[FrozenTrial] = []
        self._results: list[int] = []  # positions of trials with a result, rising
        self._unknown: list[int] = []  # positions of trials whose first result is awaited, rising
        self._ranked: list[tuple[Rank, int]] = []

    def sync(self, history: History) -> None:
        """Convert what differs from the history of the last call; records are frozen, so identity tells."""
        for position in range(len(history), len(self._records)):
            self._forget(position)
        del self._records[len(history) :], self._trials[len(history) :]
        changed = compress(range(len(self._records)), map(is_not, history, self._records))
        for position in list(changed):
            self._forget(position)
            self._records[position] = history[position]
            self._trials[position] = self._converted(history[position])
            self._learn(position)
        for position in range(len(self._records), len(history)):
            self._records.append(history[position])
            self._trials.append(self._converted(history[position]))
            self._learn(position)

    @property
    def n_results(self) -> int:
        """Number of trials that tell something about their params."""
        return len(self._results)

    def window(self, best: int, recent: int) -> list[FrozenTrial]:
        """The ``best`` trials by TPE's order, the ``recent`` newest other results and all unknown ones, by number."""
        chosen = {position for _, position in self._ranked[:best]}
        newest = (position for position in reversed(self._results) if position not in chosen)
        chosen.update([*islice(newest, recent)], self._unknown)
        return [self._trials[position] for position in sorted(chosen)]

    def _learn(self, position: int) -> None:
        trial = self._trials[position]
        if trial.state is OptunaState.RUNNING:
            insort(self._unknown, position)
        elif trial.state is not OptunaState.FAIL:
            insort(self._results, position)
            insort(self._ranked, (_rank(trial), position))

    def _forget(self, position: int) -> None:
        trial = self._trials[position]
        if trial.state is OptunaState.RUNNING:
            _remove(self._unknown, position)
        elif trial.state is not OptunaState.FAIL:
            _remove(self._results, position)
            del self._ranked[bisect_left(self._ranked, (_rank(trial), position))]

    def _converted(self, record: TrialRecord) -> FrozenTrial:
        state = _state(record)
        # A diverged trial loses its losses: Optuna ranks a pruned trial without any below all others.
        losses = {} if record.diverged else dict(record.losses)
        params = {param.name: encoded(param, record.params[param.name]) for param in self._space}
        return FrozenTrial(
            number=record.number,
            state=state,
            value=record.loss if state is OptunaState.COMPLETE else None,
            datetime_start=None,
            datetime_complete=None,
            params=params,
            distributions=self.distributions,
            user_attrs={INTERNAL: tuple(map(float, params.values()))},
            system_attrs={},
            intermediate_values=losses,
            trial_id=record.number,
        )


def distribution(param: Param) -> BaseDistribution:
    """What Optuna is told of a parameter. Points of a grid and choices are numbered, so that they come back exactly."""
    # Positions also because Optuna takes the choices 1, 1.0 and True for the same one.
    if isinstance(param, CategoricalParam):
        return CategoricalDistribution(tuple(range(len(param.choices))))
    if param.log and isinstance(param, IntParam):
        return IntDistribution(param.low, param.high, log=True)
    if param.grid_size is not None:
        return IntDistribution(0, param.grid_size - 1)
    return FloatDistribution(float(param.low), float(param.high), log=param.log)


def encoded(param: Param, value: ParamValue) -> float | int:
    """A value as ``distribution(param)`` has it. Raises ValueError if it is no value of the parameter."""
    if isinstance(param, CategoricalParam):
        index = choice_index(param, value)
        if index is None:
            raise ValueError(f"{value!r} is no choice of {param.name}")
        return index
    number = float(value)
    if param.log:
        return number if isinstance(param, FloatParam) else int(value)
    return number if param.step is None else round((number - param.low) / param.step)


def decoded(param: Param, value: float | int) -> ParamValue:
    """The inverse of ``encoded``, held within the bounds."""
    if isinstance(param, CategoricalParam) or (param.grid_size is not None and not param.log):
        return grid_value(param, int(value))
    held = min(max(value, param.low), param.high)
    return int(held) if isinstance(param, IntParam) else float(held)


def _state(record: TrialRecord) -> OptunaState:
    if record.diverged:
        return OptunaState.PRUNED
    if record.state in (TrialState.FAILED, TrialState.CANCELLED):
        return OptunaState.FAIL
    if record.losses:
        return OptunaState.COMPLETE if record.state is TrialState.COMPLETE else OptunaState.PRUNED
    # An ended trial without a result tells nothing; one that is yet to report is a constant liar's business.
    return OptunaState.RUNNING if record.state in (TrialState.QUEUED, TrialState.RUNNING) else OptunaState.FAIL


def _rank(trial: FrozenTrial) -> Rank:
    """TPE's order of merit: complete trials by value, then the others by the resource reached, then by loss."""
    if trial.state is OptunaState.COMPLETE:
        return (0, 0, trial.values[0], trial.number)
    if not trial.intermediate_values:
        return (2, 0, 0.0, trial.number)
    resource, loss = max(trial.intermediate_values.items())
    return (1, -resource, loss, trial.number)


def _remove(positions: list[int], position: int) -> None:
    del positions[bisect_left(positions, position)]
