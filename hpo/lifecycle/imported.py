"""A trial that has run elsewhere, and whether it fits the study that it is taken into."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from hpo.domain.errors import FieldError, InvalidSpec
from hpo.domain.trial import TrialState
from hpo.spec.base import escaped
from hpo.spec.study import StudySpec

MOST_ERRORS = 100  # that a refusal names


@dataclass(frozen=True, slots=True)
class ImportedTrial:
    """A trial that has ended elsewhere. ``curve`` holds (step, value of the first objective), rising in step.

    ``values`` are those of all objectives, None where it has none; ``metrics`` are further ones of its newest step.
    """

    number: int
    state: TrialState
    params: Mapping[str, Any]
    values: Sequence[float] | None = None
    curve: Sequence[tuple[int, float]] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: str | None = None


def refuse_unfit(spec: StudySpec, trials: Sequence[ImportedTrial]) -> None:
    """Raises InvalidSpec naming what is no trial of the study, or not the one that is next."""
    errors: list[FieldError] = []
    for index, trial in enumerate(trials):
        wanted = trials[0].number + index
        if trial.number != wanted:
            message = f"numbers rise by one: want {wanted}, got {trial.number}"
            errors.append(FieldError(f"/trials/{index}/number", "not_contiguous", message))
        found = [*_param_errors(spec, trial), *_value_errors(spec, trial), *_curve_errors(spec, trial)]
        errors += [FieldError(f"/trials/{index}{e.pointer}", e.code, e.message) for e in found]
        if len(errors) >= MOST_ERRORS:
            break
    if errors:
        raise InvalidSpec(*errors[:MOST_ERRORS])


def _param_errors(spec: StudySpec, trial: ImportedTrial) -> Iterator[FieldError]:
    """A space that was defined by running may leave any parameter out of a trial."""
    known = {param.name: param for param in spec.search_space}
    for name, value in trial.params.items():
        if name not in known:
            yield FieldError(
                f"/params/{escaped(name)}", "unknown_parameter", f"{name!r} is not a parameter of this study"
            )
        elif (wrong := known[name].complaint(value)) is not None:
            yield FieldError(f"/params/{escaped(name)}", "not_in_space", f"{name} {wrong}")


def _value_errors(spec: StudySpec, trial: ImportedTrial) -> Iterator[FieldError]:
    if trial.number >= spec.max_trials:
        message = f"must be below {spec.max_trials}, the trials that the study may have, got {trial.number}"
        yield FieldError("/number", "above_max_trials", message)
    if trial.values is not None and len(trial.values) != len(spec.objectives):
        message = f"one value per objective is wanted ({len(spec.objectives)}), got {len(trial.values)}"
        yield FieldError("/values", "wrong_count", message)
    if trial.state is not TrialState.COMPLETE:
        return
    if trial.values is None:
        yield FieldError("/values", "values_missing", "a complete trial has a value of each objective, got none")
    for bound in spec.constraints:
        if bound.metric not in trial.metrics:
            message = f"the metric {bound.metric!r}, which a constraint is about, is missing"
            yield FieldError("/metrics", "metric_missing", message)


def _curve_errors(spec: StudySpec, trial: ImportedTrial) -> Iterator[FieldError]:
    for (before, _), (after, _) in pairwise(trial.curve):
        if after <= before:
            yield FieldError("/curve", "not_rising", f"steps must rise, got {after} after {before}")
            return
    if trial.curve and trial.curve[-1][0] > spec.scheduler.max_resource:
        wanted = f"study.scheduler.max_resource = {spec.scheduler.max_resource}"
        yield FieldError("/curve", "beyond_max_resource", f"steps must be at most {wanted}, got {trial.curve[-1][0]}")
