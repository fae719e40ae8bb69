"""Searching on where a study has ended: with more budget, and from where it was."""

from collections.abc import Iterator
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, Row

from hpo.domain.errors import FieldError, InvalidSpec, InvalidState
from hpo.domain.events import EventType
from hpo.domain.study import STUDY_ENDED, StudyState
from hpo.engine import Engine
from hpo.lifecycle import studies
from hpo.lifecycle.outcome import Outcome
from hpo.lifecycle.studies import Edit
from hpo.spec.schedulers import AshaSpec, AutoSchedulerSpec
from hpo.spec.study import StudySpec
from hpo.storage.change import StudyChange

_UNDER_WAY = """
SELECT c.id FROM study c JOIN study p ON p.id = c.confirms
WHERE c.confirms = %(study)s AND c.project_id = %(project)s AND p.state = 'finished' AND c.deleted_at IS NULL
  AND c.state NOT IN ('finished', 'failed', 'cancelled') ORDER BY c.id"""
# The time that nobody searched is none of the study's wall time.
_SEARCH_ON = """
UPDATE study SET started_at = started_at + (clock_timestamp() - finished_at), finished_at = NULL, confirmation = NULL,
  since_best = 0 WHERE id = %(study)s"""


def extend(
    tx: Connection,
    project: UUID,
    study: UUID,
    *,
    budget: dict[str, Any],
    n_full: int | Literal["as it is"] | None = "as it is",
) -> Outcome[None]:
    """Raise what bounds a study, and let it run again if it has finished. ``budget`` holds the fields that change.

    What its end had closed is opened again by control: trials wait at their rungs as before. Its winners are confirmed
    anew; a confirmation under way is cancelled. Raises InvalidSpec if the bound that ended it is not raised,
    InvalidState if it failed, was cancelled, reached its goal or is archived, NotFound.
    """
    # Locked in one order, the study that confirms first: lifecycle.conclude does the same.
    for confirming in tx.exec_driver_sql(_UNDER_WAY, {"study": study, "project": project}).scalars().all():
        studies.command(tx, project, confirming, "cancel")
    row = studies.lock(tx, project, study)
    _refuse_state(row)
    if tx.exec_driver_sql(_UNDER_WAY, {"study": study, "project": project}).first() is not None:
        raise InvalidState("its winners have begun to be trained anew this moment: extend it again")
    changes: dict[str, Any] = {"budget": budget} if budget else {}
    if n_full != "as it is":
        changes["scheduler"] = _with_n_full(row, n_full)
    edit = studies.edited(row, changes) if changes else None
    change = StudyChange(study, row.last_seq)
    if row.state != StudyState.FINISHED:
        if edit is not None:
            change.event(EventType.STUDY_UPDATED, None, edit.told)
            change.bump(**edit.columns)
            change.run(tx)
        return Outcome(None, advance=study)
    if errors := [*_not_raised(row, edit)]:
        raise InvalidSpec(*errors)
    told = {"state": StudyState.RUNNING.value, "reason": None, "extended": True}
    change.event(EventType.STUDY_UPDATED, None, told | ({} if edit is None else edit.told))
    change.batch.add(_SEARCH_ON, study=study)
    columns = {} if edit is None else edit.columns
    change.bump(state=StudyState.RUNNING.value, state_reason=None, **columns)
    change.run(tx)
    return Outcome(None, advance=study)


def _refuse_state(row: Row[Any]) -> None:
    if row.confirms is not None:
        raise InvalidState("a study that confirms another is not extended: extend the one that it confirms")
    if row.state == StudyState.STOPPING:
        raise InvalidState("a study that is stopping cannot be extended: extend it once it has finished")
    if row.state in STUDY_ENDED and row.state != StudyState.FINISHED:
        raise InvalidState(f"a study that is {row.state} cannot be extended: clone it")
    if row.state == StudyState.FINISHED and row.state_reason == "goal":
        raise InvalidState("the study has reached its goal, and would end with the next trial: clone it without one")


def _with_n_full(row: Row[Any], n_full: int | None) -> dict[str, Any]:
    """The scheduler of the spec with another ``n_full``. Raises InvalidSpec if it has none."""
    spec = StudySpec.model_validate(row.spec)
    if not isinstance(spec.chosen_scheduler, AshaSpec):
        kind = spec.scheduler.type if spec.chosen_scheduler is None else spec.chosen_scheduler.type
        raise InvalidSpec(FieldError("/n_full", "not_asha", f"only asha ends by n_full, this study has {kind}"))
    if row.complete and n_full is not None and n_full < row.complete:
        message = f"n_full must be at least {row.complete}, the whole trials already; got {n_full}"
        raise InvalidSpec(FieldError("/n_full", "below_spent", message))
    stored: dict[str, Any] = row.spec["scheduler"]
    if isinstance(spec.scheduler, AutoSchedulerSpec):
        return {**stored, "picked": {**stored["picked"], "n_full": n_full}}
    return {**stored, "n_full": n_full}


def _not_raised(row: Row[Any], edit: Edit | None) -> Iterator[FieldError]:
    """The bounds that would end the study again at once."""
    spec = StudySpec.model_validate(row.spec) if edit is None else edit.spec
    budget, reason = spec.budget, row.state_reason
    if row.max_trials < StudySpec.model_validate(row.spec).max_trials:  # lowered when the space was used up
        raise InvalidState(f"all {row.next_number} configurations of the space were tried: edit the search space first")
    if spec.max_trials <= row.next_number and (reason == "max_trials" or row.closed == 0):
        message = f"max_trials must be above {row.next_number}, the trials created already, got {budget.max_trials}"
        if spec.max_trials < budget.max_trials:
            message = f"the grid holds {spec.max_trials} points and {row.next_number} trials are created already"
        yield FieldError("/budget/max_trials", "not_raised", message)
    if reason == "n_full" and (scheduler := spec.chosen_scheduler) is not None:
        n_full = getattr(scheduler, "n_full", None)
        if n_full is not None and n_full <= row.complete:
            message = f"n_full must be above {row.complete}, the whole trials already; got {n_full}"
            yield FieldError("/n_full", "not_raised", message)
    if reason == "max_epochs" and budget.max_epochs is not None:
        engine = Engine(spec)
        least = row.spent + engine.first_target(engine.bracket_of(row.next_number))
        if budget.max_epochs < least:
            message = f"max_epochs must be at least {least} for another trial, {row.spent} are spent; "
            yield FieldError("/budget/max_epochs", "not_raised", f"{message}got {budget.max_epochs}")
    hours = row.device_seconds / 3600
    if budget.max_gpu_hours is not None and budget.max_gpu_hours <= hours:
        message = f"max_gpu_hours must be above {hours:.6g}, which are spent, got {budget.max_gpu_hours:g}"
        yield FieldError("/budget/max_gpu_hours", "not_raised", message)
    if budget.max_wall_s is not None and row.wall_s is not None and budget.max_wall_s <= row.wall_s:
        message = f"max_wall_s must be above {row.wall_s:.6g}, which have passed, got {budget.max_wall_s:g}"
        yield FieldError("/budget/max_wall_s", "not_raised", message)
