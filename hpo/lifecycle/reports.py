"""A report, in one transaction: fence, store the steps, decide at a rung, hand the freed slot on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from hpo.domain.errors import FieldError, InvalidSpec, LadderError, LeaseLost, NotFound
from hpo.domain.events import EventType
from hpo.domain.report import Answer, Report, StepResult
from hpo.domain.trial import EndClass, TrialState
from hpo.lifecycle.definitions import Definition, Definitions
from hpo.lifecycle.outcome import Outcome
from hpo.lifecycle.promotion import begin_stopping, hand_on
from hpo.schedulers.base import Action, RungEntry, StudyView
from hpo.storage import leases
from hpo.storage import reports as stored
from hpo.storage.change import TrialChange
from hpo.storage.rungs import SqlRungLog

# How a decision ends the attempt; CONTINUE does not.
_ENDS = {
    Action.PAUSE: (TrialState.PAUSED, EndClass.PAUSED),
    Action.STOP: (TrialState.PRUNED, EndClass.PRUNED),
    Action.COMPLETE: (TrialState.COMPLETE, EndClass.COMPLETE),
}


@dataclass(frozen=True, slots=True)
class Item:
    """A report with the number of its trial."""

    number: int
    body: Report


def report_all(
    tx: Connection, definitions: Definitions, project: UUID, study: UUID, items: Sequence[Item]
) -> list[Outcome[Answer] | LadderError]:
    """Accept several reports of one study in order, each as ``report`` does; a refusal takes the place of an answer."""
    # Every trial is locked before the study is: nobody may wait for a trial who holds a study (RELIABILITY.md 3.3).
    leases.lock_trials(tx, [item.body.lease for item in items])
    rungs = SqlRungLog(tx, study)
    results: list[Outcome[Answer] | LadderError] = []
    for item in items:
        try:
            results.append(report(tx, definitions, project, study, item.number, item.body, rungs=rungs))
        except LadderError as refusal:  # raised before anything is written
            results.append(refusal)
    return results


def report(
    tx: Connection,
    definitions: Definitions,
    project: UUID,
    study: UUID,
    number: int,
    body: Report,
    *,
    rungs: SqlRungLog | None = None,
) -> Outcome[Answer]:
    """Accept the steps of a leased trial and say how it goes on. ``rungs`` is the log that this transaction uses.

    The first accepted value of a step stands; a step that was accepted before is answered again and changes nothing.
    Raises LeaseLost if the lease is not the trial's, InvalidSpec if a step or the objective's metric is not what was
    asked for, NotFound if there is no such trial.
    """
    row = leases.lock(tx, project, study, number, body.lease)
    if row is None:
        return Outcome(_answered_before(tx, project, study, number, body))
    definition = definitions.get(tx, study)
    steps = [step for step in body.steps if step.step > row.last_step]
    losses = [_loss_of(definition, step) for step in steps]
    if steps and steps[-1].step > row.target_step:
        message = f"step must be at most the trial's target {row.target_step}, got {steps[-1].step}"
        raise InvalidSpec(FieldError("/step", "beyond_target", message))
    change = TrialChange(row, study)
    change.notes(body)
    if not steps:
        _compare(tx, change, definition, body.last)
        change.renew()
        return Outcome(Answer("continue", row.target_step, change.write(tx)))
    if not all(map(math.isfinite, losses)):
        return _end(tx, change, steps, losses, TrialState.PRUNED, EndClass.DIVERGED)
    at_rung = steps[-1].step == row.target_step
    commanded = _commanded(row, at_rung=at_rung, full=definition.engine.levels[-1])
    if commanded is not None:
        return _end(tx, change, steps, losses, *commanded)
    if at_rung:
        return _decide(tx, change, definition, steps, losses, rungs or SqlRungLog(tx, study))
    change.steps(steps, losses, "continue", row.target_step)
    change.event(EventType.TRIAL_REPORTED, row.number, {"step": steps[-1].step, "loss": losses[-1]})
    change.renew()
    return Outcome(Answer("continue", row.target_step, change.write(tx)))


def _answered_before(tx: Connection, project: UUID, study: UUID, number: int, body: Report) -> Answer:
    """The lease has ended. If this very report ended it, its reply was lost: answer it again."""
    answer = stored.find_answer(tx, project, study, number, body.last.step, body.lease)
    if answer is not None and answer.decision is not None:
        return Answer(answer.decision, answer.target)
    if not stored.exists(tx, project, study, number):
        raise NotFound(f"there is no trial {number} in study {study}")
    raise LeaseLost(f"the lease of trial {number} is no longer yours: drop its work")


def _loss_of(definition: Definition, step: StepResult) -> float:
    objective = definition.spec.objective
    value = step.metrics.get(objective.metric)
    if value is None:
        message = f"the objective's metric {objective.metric!r} is missing at step {step.step}"
        raise InvalidSpec(FieldError("/metrics", "metric_missing", message))
    return objective.loss(value)


def _compare(tx: Connection, change: TrialChange, definition: Definition, step: StepResult) -> None:
    """A deterministic trainer gives the same value again; another one is recorded, the first stands."""
    loss = _loss_of(definition, step)
    first = stored.loss_at(tx, change.row.id, step.step)
    if first is not None and math.isfinite(loss) and loss != first:
        change.event(EventType.REPLAY_MISMATCH, change.row.number, {"step": step.step, "loss": loss, "stands": first})


Ended = tuple[TrialState, EndClass]

_CANCEL: Ended = (TrialState.CANCELLED, EndClass.CANCELLED)
_PRUNE: Ended = (TrialState.PRUNED, EndClass.PRUNED)


def _commanded(row: Any, *, at_rung: bool, full: int) -> Ended | None:
    """How the study's or the trial's own command ends a running trial, whatever the scheduler would say."""
    if row.state in ("cancelled", "failed") or row.stop_requested == "cancel":
        return _CANCEL
    # Stopped by a person, a study lets running rungs end and a whole trial complete; by its goal or budget, not.
    if row.state == "stopping" and (row.state_reason != "user" or (at_rung and row.target_step < full)):
        return _PRUNE
    return _PRUNE if row.stop_requested == "stop" else None


def _end(
    tx: Connection,
    change: TrialChange,
    steps: list[StepResult],
    losses: list[float],
    state: TrialState,
    end_class: EndClass,
) -> Outcome[Answer]:
    change.steps(steps, losses, "stop")
    data = {"step": steps[-1].step, "state": state.value, "end_class": end_class.value}
    change.event(EventType.TRIAL_FINISHED, change.row.number, data)
    change.leave_running(state, end_class)
    change.write(tx)
    return Outcome(Answer("stop"), advance=change.study)


def _decide(
    tx: Connection,
    change: TrialChange,
    definition: Definition,
    steps: list[StepResult],
    losses: list[float],
    rungs: SqlRungLog,
) -> Outcome[Answer]:
    row, engine = change.row, definition.engine
    rung = engine.levels.index(steps[-1].step)
    entry = RungEntry(trial=row.number, bracket=row.bracket, rung=rung, loss=losses[-1], seq=change.next_seq())
    decision = engine.decide(entry, rungs)
    action, target = decision.action, decision.target
    rungs.add(change.batch, entry, action, waiting=action is Action.PAUSE)
    change.set(rung=rung)
    data: dict[str, Any] = {"step": steps[-1].step, "loss": entry.loss, "bracket": entry.bracket, "rung": rung}
    data |= {"decision": action.value, "target": target}
    if action is Action.CONTINUE:
        assert target is not None
        change.event(EventType.TRIAL_REPORTED, row.number, data, seq=entry.seq)
        if row.budget is None or row.spent + row.reserved + target - row.target_step <= row.budget:
            change.steps(steps, losses, "continue", target)
            change.retarget(target)
            change.renew()
            rungs.flush(change.batch)
            return Outcome(Answer("continue", target, change.write(tx)))
        # Promoted, but the budget does not hold its next rung: it queues for epochs that others may give back.
        change.steps(steps, losses, "pause")
        change.leave_running(TrialState.QUEUED, EndClass.PAUSED)
        change.set(target_step=target, promoted=True)
        change.write(tx)
        return Outcome(Answer("pause"), advance=change.study)
    state, end_class = _ENDS[action]
    kind = EventType.TRIAL_PAUSED
    if state is not TrialState.PAUSED:
        kind, data = EventType.TRIAL_FINISHED, data | {"state": state.value, "end_class": end_class.value}
    change.steps(steps, losses, action)
    change.event(kind, row.number, data, seq=entry.seq)
    change.leave_running(state, end_class)
    change.write(tx)
    if row.state != "running":
        return Outcome(Answer(action.value), advance=change.study)
    # The device is free: the paper's get_job, as late as can be and under the same lock.
    objective = definition.spec.objective
    if objective.goal is not None and entry.loss <= objective.loss(objective.goal):
        begin_stopping(tx, change.study, change.seq, "goal")
        return Outcome(Answer(action.value), advance=change.study)
    whole = row.complete + (state is TrialState.COMPLETE)
    view = StudyView(row.next_number, row.max_trials, row.queued, row.running - 1, whole)
    idle = hand_on(tx, engine, change.study, change.seq, rungs, view)
    return Outcome(Answer(action.value), advance=change.study if idle else None)
