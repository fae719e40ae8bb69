"""The part of the audit that walks the event log: its order, the edges taken, and every decision derived again."""

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row

from hpo.domain.study import STUDY_EDGES, StudyState
from hpo.domain.trial import TRIAL_EDGES, TrialState
from hpo.replay import Created, Ended, Event, Promoted, Reported, replay
from hpo.schedulers.base import Action, Decision

if TYPE_CHECKING:
    from tests.audit import Record


def violations_of_log(record: "Record") -> Iterator[str]:
    """I6, I7, and what I4 and I5 say of every instant."""
    seqs = [event.seq for event in record.events]
    if seqs != list(range(1, record.study.last_seq + 1)):
        yield f"the events are numbered {_gaps(seqs)}, the study's last is {record.study.last_seq}"
    yield from _study_states(record)
    yield from _trial_states(record)
    yield from _entries(record)
    yield from _decisions(record)


def _gaps(seqs: list[int]) -> str:
    missing = sorted(set(range(1, max(seqs, default=0) + 1)) - set(seqs))
    return f"up to {max(seqs, default=0)} without {missing}"


def _study_states(record: "Record") -> Iterator[str]:
    state: StudyState | None = None
    for event in record.events:
        if state in (StudyState.FINISHED, StudyState.FAILED) and event.type != "study-updated":
            yield f"I7: event {event.seq} ({event.type}) came after the study had {state}"
        if event.type == "study-updated" and "state" in event.data:
            new = StudyState(event.data["state"])
            if state is not None and new not in STUDY_EDGES[state]:
                yield f"I7: event {event.seq} takes the study from {state} to {new}"
            state = new
    if state != record.study.state:
        yield f"I7: the log leaves the study {state}, its row says {record.study.state}"


Step = tuple[Row[Any], TrialState | None, TrialState | None]


def _walk(record: "Record") -> list[Step]:
    """Every event of a trial with the trial's state before and after it; None before it is created."""
    # Promoted in place, but the budget did not hold the next rung: the log says "continue", the trial was queued.
    unaffordable = {(report.number, report.step) for report in record.reports if report.decision == "pause"}
    states: dict[int, TrialState] = {}
    steps = []
    for event in record.events:
        if event.number is not None:
            before = states.get(event.number)
            after = _state_after(event, unaffordable) or before
            if after is not None:
                states[event.number] = after
            steps.append((event, before, after))
    return steps


def _trial_states(record: "Record") -> Iterator[str]:
    """Follow every trial through the log; I5 at every instant, I7 at every edge."""
    steps = _walk(record)
    yield from (violation for step in steps for violation in _edge(*step))
    created = [event.number for event, _, _ in steps if event.type == "trial-created"]
    if created != [trial.number for trial in record.trials]:
        yield f"I1: the log creates the trials {created}, {len(record.trials)} are there"
    started = Counter(event.number for event, _, _ in steps if event.type == "trial-started")
    last = {event.number: after for event, _, after in steps}
    for trial in record.trials:
        if last.get(trial.number) != trial.state:
            yield f"I7: the log leaves trial {trial.number} {last.get(trial.number)}, its row says {trial.state}"
        if started[trial.number] != trial.attempt:
            yield f"I2: trial {trial.number} was started {started[trial.number]} times in {trial.attempt} attempts"
    running = TrialState.RUNNING
    at_once = max(accumulate((after is running) - (before is running) for _, before, after in steps), default=0)
    if at_once > record.study.max_running and not any("changed" in event.data for event in record.events):
        yield f"I5: {at_once} trials ran at once, at most {record.study.max_running} may"


def _edge(event: Row[Any], before: TrialState | None, after: TrialState | None) -> Iterator[str]:
    what = f"event {event.seq} ({event.type})"
    if (before is None) != (event.type == "trial-created"):
        yield f"I1: {what} is of trial {event.number}, which was {before}"
    elif before is None or after is None:
        return
    elif event.type in ("trial-reported", "replay-mismatch") and before is not TrialState.RUNNING:
        yield f"I3: {what} is of trial {event.number}, which is {before}"
    elif event.type not in ("trial-reported", "replay-mismatch") and after not in TRIAL_EDGES[before]:
        yield f"I7: {what} takes trial {event.number} from {before} to {after}"


def _state_after(event: Row[Any], unaffordable: set[tuple[int, int]]) -> TrialState | None:
    """The state that the event leaves its trial in; None if it stays as it is."""
    if event.type == "trial-reported":
        queued = event.data.get("decision") == "continue" and (event.number, event.data["step"]) in unaffordable
        return TrialState.QUEUED if queued else None
    match event.type:
        case "trial-started":
            return TrialState.RUNNING
        case "trial-paused":
            return TrialState.PAUSED
        case "trial-created" | "trial-promoted" | "trial-requeued":
            return TrialState.QUEUED
        case "trial-finished":
            return TrialState(event.data["state"])
    return None


def _entries(record: "Record") -> Iterator[str]:
    """I6: the rung entries are exactly the decisions in the log."""
    logged = {
        (e.seq, e.number, e.data["bracket"], e.data["rung"], e.data["loss"], e.data["decision"])
        for e in record.events
        if "decision" in e.data
    }
    stored = {(e.seq, e.number, e.bracket, e.rung, e.loss, e.decision) for e in record.entries}
    for one in sorted(logged ^ stored):
        where = "the log alone" if one in logged else "the rungs alone"
        yield f"I6: the decision (seq, trial, bracket, rung, loss, decision) = {one} stands in {where}"
    levels = record.spec.scheduler.levels
    reports = {(report.number, report.step): report for report in record.reports}
    for entry in record.entries:
        report = reports.get((entry.number, levels[entry.rung]))
        if report is None or report.loss != entry.loss:
            yield f"I6: trial {entry.number} stands at rung {entry.rung} with a loss that was not reported"


def _decisions(record: "Record") -> Iterator[str]:
    """I6: every decision and promotion is what the scheduler says on the log before it."""
    difference = replay(record.spec, _replayable(record))
    if difference is not None:
        said = f"recorded {difference.recorded}, expected {difference.expected}"
        yield f"I6: at event {difference.seq}, trial {difference.trial}: {said}"


def _replayable(record: "Record") -> Iterator[Event]:
    brackets = {trial.number: trial.bracket for trial in record.trials}
    for event in record.events:
        data = event.data
        if event.type == "trial-created":
            yield Created(event.seq, event.number, brackets.get(event.number, 0))
        elif "decision" in data:
            decision = Decision(Action(data["decision"]), data.get("target"))
            yield Reported(event.seq, event.number, data["bracket"], data["rung"], data["loss"], decision)
        elif event.type == "trial-promoted":
            yield Promoted(event.seq, event.number, data["bracket"], data["rung"], data["target"])
        elif event.type == "trial-finished":
            yield Ended(event.seq, event.number)
