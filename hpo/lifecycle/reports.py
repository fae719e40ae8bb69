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
from hpo.lifecycle import conclude
from hpo.lifecycle.definitions import Definition, Definitions
from hpo.lifecycle.ends import reason_to_stop
from hpo.lifecycle.outcome import Outcome
from hpo.lifecycle.promotion import begin_stopping, hand_on
from hpo.schedulers.base import Action, Past, StudyView
from hpo.schedulers.composed import Arrival
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
    asked for or the data is other than that of the study's first report, NotFound if there is no such trial.
    """
    row = leases.lock(tx, project, study, number, body.lease)
    if row is None:
        return Outcome(_answered_before(tx, project, study, number, body))
    definition = definitions.get(tx, study, revision=row.revision)
    steps = [step for step in body.steps if step.step > row.last_step]
    losses = [_loss_of(definition, step) for step in steps]
    if steps and steps[-1].step > row.target_step:
        message = f"step must be at most the trial's target {row.target_step}, got {steps[-1].step}"
        raise InvalidSpec(FieldError("/step", "beyond_target", message))
    if body.split_sha256 is not None:
        _check_split(tx, study, row, split_sha256=body.split_sha256)
    change = TrialChange(row, study)
    change.notes(body)
    if not steps:
        _compare(tx, change, definition, body.last)
        change.renew()
        return Outcome(Answer("continue", row.target_step, change.write(tx)))
    at_stop = steps[-1].step == row.target_step
    ended = _commanded(row, at_stop=at_stop, full=definition.engine.full)
    if not all(map(math.isfinite, losses)) or (at_stop and not _judged(definition, steps[-1])):
        ended = (TrialState.PRUNED, EndClass.DIVERGED)
    if row.final is not None:
        conclude.score(tx, change, steps)
    rungs = rungs or SqlRungLog(tx, study)
    if ended is not None:
        return _end(tx, change, definition, steps, losses, ended, rungs)
    if at_stop:
        return _decide(tx, change, definition, steps, losses, rungs)
    change.steps(steps, losses, "continue", row.target_step)
    change.event(EventType.TRIAL_REPORTED, row.number, _told(steps, losses))
    change.renew()
    return Outcome(Answer("continue", row.target_step, change.write(tx)))


def _check_split(tx: Connection, study: UUID, row: Any, *, split_sha256: str) -> None:
    """Refuse a report of a trial on other data than those it is compared with."""
    first, whose = row.split_sha256, "this study"
    if first is None and row.contest_id is not None and (told := stored.split_of_contest(tx, row.contest_id, study)):
        first, whose = told.split_sha256, f"study {told.name} of the same contest"
    if first is not None and split_sha256 != first:
        message = f"got a split of the data with sha256 {split_sha256}, but {whose} trains on {first}"
        raise InvalidSpec(FieldError("/split_sha256", "split_differs", message))


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


def _commanded(row: Any, *, at_stop: bool, full: int) -> Ended | None:
    """How the study's or the trial's own command ends a running trial, whatever the scheduler would say."""
    if row.state in ("cancelled", "failed") or row.stop_requested == "cancel":
        return _CANCEL
    # Stopped by a person, a study lets running rungs end and a whole trial complete; by its goal or budget, not.
    if row.state == "stopping" and (row.state_reason != "user" or (at_stop and row.target_step < full)):
        return _PRUNE
    return _PRUNE if row.stop_requested == "stop" else None


def _told(steps: Sequence[StepResult], losses: Sequence[float]) -> dict[str, Any]:
    """What every event of a report says of it."""
    data: dict[str, Any] = {"step": steps[-1].step}
    if math.isfinite(losses[-1]):
        data["loss"] = losses[-1]
    seconds = [step.seconds for step in steps if step.seconds is not None]
    return data | {"seconds": sum(seconds)} if seconds else data


def judged_by(definition: Definition) -> list[str]:
    """The metrics that a trial is judged by."""
    spec = definition.spec
    return [objective.metric for objective in spec.objectives] + [bound.metric for bound in spec.constraints]


def _judged(definition: Definition, step: StepResult) -> bool:
    """Whether all that the trial is judged by is finite. Raises InvalidSpec if a metric is missing."""
    wanted = judged_by(definition)
    for metric in wanted:
        if metric not in step.metrics:
            message = f"the metric {metric!r}, which this study judges by, is missing at step {step.step}"
            raise InvalidSpec(FieldError("/metrics", "metric_missing", message))
    return all(math.isfinite(step.metrics[metric]) for metric in wanted)


def _end(
    tx: Connection,
    change: TrialChange,
    definition: Definition,
    steps: list[StepResult],
    losses: list[float],
    ended: Ended,
    rungs: SqlRungLog,
) -> Outcome[Answer]:
    row, (state, end_class) = change.row, ended
    change.steps(steps, losses, "stop")
    data = _told(steps, losses) | {"state": state.value, "end_class": end_class.value}
    seq = change.next_seq()
    change.event(EventType.TRIAL_FINISHED, row.number, data | drop(change, definition, rungs, seq), seq=seq)
    change.leave_running(state, end_class)
    reason = reason_to_stop(change, definition, ended=True)
    rungs.flush(change.batch)
    change.write(tx)
    if reason is not None:
        begin_stopping(tx, change.study, change.seq, reason)
    return Outcome(Answer("stop"), advance=change.study)


def drop(change: TrialChange, definition: Definition, rungs: SqlRungLog, seq: int) -> dict[str, int]:
    """Enter a trial that ends on its way as the worst of the rung it was due at; returns what its event says of it."""
    row = change.row
    due = 0 if row.rung is None else row.rung + 1
    entered = definition.engine.scheduler.dropped(row.number, row.bracket, due, seq)
    for one in entered:
        rungs.add(change.batch, one)
    return {"dropped_at": entered[0].entry.rung} if entered else {}


def arrival_of(definition: Definition, row: Any, step: StepResult, seq: int) -> Arrival:
    """What a stop says of the trial ``row``; every metric that it is judged by must be there."""
    spec = definition.spec
    losses = tuple(objective.loss(step.metrics[objective.metric]) for objective in spec.objectives)
    violation = sum(bound.violation(step.metrics[bound.metric]) for bound in spec.constraints)
    vector = losses if len(losses) > 1 else ()
    return Arrival(row.number, row.bracket, step.step, seq, losses[0], vector, violation)


def _decide(
    tx: Connection,
    change: TrialChange,
    definition: Definition,
    steps: list[StepResult],
    losses: list[float],
    rungs: SqlRungLog,
) -> Outcome[Answer]:
    row, engine = change.row, definition.engine
    arrival = arrival_of(definition, row, steps[-1], change.next_seq())

    def past() -> Past:
        fresh = [(step.step, loss) for step, loss in zip(steps[:-1], losses[:-1], strict=True)]
        return [*stored.losses(tx, row.id), *fresh]

    verdict = engine.decide(arrival, past, rungs)
    action, target = verdict.decision.action, verdict.decision.target
    for one in verdict.entered:
        rungs.add(change.batch, one)
    change.judged(arrival.vector, arrival.violation)
    if verdict.rung is not None:
        change.set(rung=verdict.rung)
    data = _told(steps, losses) | {"bracket": row.bracket, "rung": verdict.rung}
    data |= {"decision": action.value, "target": target}
    data |= {"vector": list(arrival.vector)} if arrival.vector else {}
    data |= {"violation": arrival.violation} if arrival.violation else {}
    reason = reason_to_stop(change, definition, ended=action in (Action.STOP, Action.COMPLETE), arrival=arrival)
    if action is Action.CONTINUE:
        assert target is not None
        if row.budget is None or row.spent + row.reserved + target - row.target_step <= row.budget:
            change.event(EventType.TRIAL_REPORTED, row.number, data, seq=arrival.seq)
            change.steps(steps, losses, "continue", target)
            change.retarget(target)
            change.renew()
            rungs.flush(change.batch)
            answer = Answer("continue", target, change.write(tx))
        else:
            # Promoted, but the budget does not hold its next stop: it queues for epochs that others may give back.
            change.event(EventType.TRIAL_REPORTED, row.number, data | {"queued": True}, seq=arrival.seq)
            change.steps(steps, losses, "pause")
            change.leave_running(TrialState.QUEUED, EndClass.PAUSED)
            change.set(target_step=target, promoted=True)
            change.write(tx)
            answer = Answer("pause")
        if reason is not None and row.state == "running":
            begin_stopping(tx, change.study, change.seq, reason)
        return Outcome(answer, advance=change.study if reason or answer.decision == "pause" else None)
    state, end_class = _ENDS[action]
    kind = EventType.TRIAL_PAUSED
    if state is not TrialState.PAUSED:
        kind, data = EventType.TRIAL_FINISHED, data | {"state": state.value, "end_class": end_class.value}
    change.steps(steps, losses, action)
    change.event(kind, row.number, data, seq=arrival.seq)
    change.leave_running(state, end_class)
    change.write(tx)
    if row.state != "running":
        return Outcome(Answer(action.value), advance=change.study)
    if reason is not None:
        begin_stopping(tx, change.study, change.seq, reason)
        return Outcome(Answer(action.value), advance=change.study)
    # The device is free: the paper's get_job, as late as can be and under the same lock.
    whole = row.complete + (state is TrialState.COMPLETE)
    view = StudyView(row.next_number, row.max_trials, row.queued, row.running - 1, whole)
    idle = hand_on(tx, engine, change.study, change.seq, rungs, view)
    return Outcome(Answer(action.value), advance=change.study if idle else None)
