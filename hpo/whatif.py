"""What another scheduler would have spent and found, by the recorded curves of a study.

The trials begin in the order of their creation with their recorded losses and seconds, under the simulator's clock. A
scheduler may want a trial to be trained further than it was recorded: the trial is then *censored*. It ends where its
record ends, its rung counts it as the worst, and its last value still counts as found. All that follows the first
censored trial is an estimate: with its true losses others might have been promoted or stopped. What was trained and
found until then is certain.

Left out, as in ``hpo.simulate``: goals, stagnation, wall time and device hours.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from pydantic import ValidationError

from hpo.choose import resolve
from hpo.domain.errors import FieldError, InvalidSpec
from hpo.domain.events import EventType
from hpo.domain.history import Params
from hpo.domain.trial import EndClass, TrialState
from hpo.engine import Engine
from hpo.simulate import Epoch, Simulation, simulate
from hpo.spec.compatible import incompatible
from hpo.spec.errors import errors_of
from hpo.spec.samplers import RandomSamplerSpec
from hpo.spec.schedulers import PbtSpec
from hpo.spec.study import StudySpec


@dataclass(frozen=True, slots=True)
class Curve:
    """What was recorded of a trial: its accepted steps, rising, and what stands at each of them.

    A loss that is not finite is a divergence. Seconds may be unknown, and violations where a metric was not reported;
    ``violations`` is empty without outcome constraints.
    """

    number: int
    params: Params
    steps: Sequence[int]
    losses: Sequence[float]
    seconds: Sequence[float | None]
    violations: Sequence[float | None] = ()
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """The lowest loss among the newest values of the trials that did not fail and keep the outcome constraints."""

    trial: int
    step: int
    loss: float


@dataclass(frozen=True, slots=True)
class Censored:
    """A trial was wanted at ``wanted`` epochs; its record ends at ``recorded``."""

    trial: int
    recorded: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """What a scheduler would have done. ``not_started`` are the trials of the record that it never began.

    ``epochs`` and ``device_s`` count what the record holds; ``epochs_missing`` were wanted beyond it, up to the next
    stop of each censored trial. ``certain_epochs`` were trained and ``certain_best`` was found until the first trial
    was censored; without any they are ``epochs`` and ``best``. ``trials_missing``: the study allowed for more trials
    than were recorded, and the scheduler came to the end of the record.
    """

    trials: int
    not_started: int
    complete: int
    epochs: int
    device_s: float
    makespan_s: float
    best: Found | None
    censored: tuple[Censored, ...]
    certain_epochs: int
    certain_best: Found | None
    trials_missing: bool

    @property
    def epochs_missing(self) -> int:
        return sum(one.wanted - one.recorded for one in self.censored)


def variant(spec: StudySpec, scheduler: Mapping[str, Any], pruners: Sequence[Any] = ()) -> StudySpec:
    """The study with another scheduler and ``pruners`` of its own; ``max_resource`` stays unless given.

    Raises InvalidSpec if it is no scheduler, or one that does not go with the study.
    """
    told = {"max_resource": spec.scheduler.max_resource, **scheduler}
    data = spec.model_dump(mode="json") | {"scheduler": told, "pruners": list(pruners)}
    try:
        made = StudySpec.model_validate(data)
    except ValidationError as error:
        raise InvalidSpec(*errors_of(error, data)) from error
    if isinstance(made.chosen_scheduler, PbtSpec):
        message = "a population changes params in training, and no recorded curve tells what would have come of it"
        raise InvalidSpec(FieldError("/scheduler/type", "not_recorded", message))
    contradictions = incompatible(made)
    if contradictions:
        raise InvalidSpec(*contradictions)
    return resolve(made)


def whatif(spec: StudySpec, record: Sequence[Curve], *, workers: int) -> Counterfactual:
    """Run the scheduler and the pruners of ``spec`` over the record, whose trials stand in the order of creation.

    Raises InvalidSpec for a study of several objectives, or of a population, whose curves are not those of the params
    that its trials began with.
    """
    if len(spec.objectives) > 1:
        message = f"one best value is compared, and the study has {len(spec.objectives)} objectives"
        raise InvalidSpec(FieldError("/objectives", "needs_one_objective", message))
    if isinstance(spec.chosen_scheduler, PbtSpec):
        message = "the trials of a population took over each other's weights: their curves are not their own"
        raise InvalidSpec(FieldError("/scheduler/type", "not_recorded", message))
    epochs = _epochs(record)

    def curve(number: int, params: Params, step: int) -> Epoch | EndClass:
        if step <= len(epochs[number]):
            return epochs[number][step - 1]
        return EndClass.USER_ERROR if record[number].failed else EndClass.CANCELLED

    budget = spec.budget.model_copy(update={"max_trials": max(1, len(record))})
    bounded = spec.model_copy(
        update={"budget": budget, "sampler": RandomSamplerSpec(seed=spec.sampler.seed), "warm_start": None}
    )
    if not record:
        return Counterfactual(0, 0, 0, 0, 0.0, 0.0, None, (), 0, None, trials_missing=True)
    run = simulate(bounded, curve, workers=workers, params=lambda number: record[number].params)
    end, certain, censored = _followed(Engine(bounded), run)
    numbers = [curve.number for curve in record]

    def best(at: _Standing) -> Found | None:
        return _best((numbers[n], epochs[n][:step]) for n, step in at.done.items() if n not in at.failed)

    return Counterfactual(
        trials=len(end.done),
        not_started=len(record) - len(end.done),
        complete=sum(trial.state is TrialState.COMPLETE for trial in run.trials),
        epochs=run.epochs,
        device_s=math.fsum(epoch.seconds for number, step in end.done.items() for epoch in epochs[number][:step]),
        makespan_s=run.makespan_s,
        best=best(end),
        censored=tuple(Censored(numbers[one.trial], one.recorded, one.wanted) for one in censored),
        certain_epochs=sum(certain.done.values()),
        certain_best=best(certain),
        trials_missing=len(end.done) == len(record) < spec.max_trials and run.reason == "max_trials",
    )


def recorded(spec: StudySpec, record: Sequence[Curve]) -> tuple[int, Found | None]:
    """Epochs that were trained and the best that was found, in the terms of ``Counterfactual``."""
    epochs = _epochs(record)
    best = _best((curve.number, own) for curve, own in zip(record, epochs, strict=True) if not curve.failed)
    return sum(map(len, epochs)), best


def _best(ends: Iterable[tuple[int, Sequence[Epoch]]]) -> Found | None:
    found = [
        Found(number, len(epochs), epochs[-1].loss)
        for number, epochs in ends
        if epochs and math.isfinite(epochs[-1].loss) and epochs[-1].violation == 0
    ]
    return min(found, key=lambda one: (one.loss, one.trial), default=None)


@dataclass(frozen=True, slots=True)
class _Standing:
    """How far the trials are: the newest epoch of each that has begun, and those that have failed."""

    done: dict[int, int]
    failed: set[int]

    def copy(self) -> "_Standing":
        return _Standing(dict(self.done), set(self.failed))


def _followed(engine: Engine, run: Simulation) -> tuple[_Standing, _Standing, list[Censored]]:
    """Where the trials stood at the end and when the first was censored, and all that were."""
    now, certain = _Standing({}, set()), None
    bracket: dict[int, int] = {}
    censored: list[Censored] = []
    for event in run.events:
        trial, data = event.trial, event.data
        assert trial is not None  # the record is never exhausted: the budget ends with it
        if event.type is EventType.TRIAL_CREATED:
            bracket[trial] = data["bracket"]
        now.done[trial] = max(now.done.get(trial, 0), data.get("step", 0))
        if data.get("state") == TrialState.FAILED:
            now.failed.add(trial)
        # Whoever waits for nothing when the study ends is cancelled too, but at no step.
        if data.get("end_class") == EndClass.CANCELLED and "step" in data:
            certain = certain or now.copy()
            wanted = engine.scheduler.next_stop(bracket[trial], data["step"])
            censored.append(Censored(trial, data["step"], wanted))
    return now, certain or now, censored


def _epochs(record: Sequence[Curve]) -> list[list[Epoch]]:
    """Every epoch of every curve. One that was not reported has the last value before it, or the first there is.

    Seconds of a report count for the epochs since the report before; where they are unknown, the median does.
    """
    per_epoch = [
        seconds / (step - before)
        for curve in record
        for step, before, seconds in zip(curve.steps, (0, *curve.steps), curve.seconds, strict=False)
        if seconds is not None
    ]
    typical = median(per_epoch) if per_epoch else 1.0
    return [_filled(curve, typical) for curve in record]


def _filled(curve: Curve, typical: float) -> list[Epoch]:
    epochs: list[Epoch] = []
    for index, step in enumerate(curve.steps):
        gap = step - len(epochs)
        seconds = curve.seconds[index]
        each = typical if seconds is None else seconds / gap
        known = curve.violations[index] if curve.violations else 0.0
        if known is None:
            known = epochs[-1].violation if epochs else 0.0
        here = Epoch(curve.losses[index], each, violation=known)
        skipped = epochs[-1] if epochs else here
        epochs += [Epoch(skipped.loss, each, violation=skipped.violation)] * (gap - 1)
        epochs.append(here)
    return epochs
