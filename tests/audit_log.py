"""The part of the audit that walks the event log: its order, the edges taken, and every decision derived again."""

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row

from hpo.domain.events import Event, EventType
from hpo.domain.study import STUDY_EDGES, StudyState
from hpo.domain.trial import TRIAL_EDGES, TrialState
from hpo.replay import replay

if TYPE_CHECKING:
    from tests.audit import Record


WHILE_RUNNING = ("trial-reported", "replay-mismatch", "test-scored")  # events that leave a trial as it is


def violations_of_log(record: "Record") -> Iterator[str]:
    """I6, I7, and what I4 and I5 say of every instant."""
    seqs = [event.seq for event in record.events]
    if seqs != list(range(1, record.study.last_seq + 1)):
        yield f"the events are numbered {_gaps(seqs)}, the study's last is {record.study.last_seq}"
    yield from _study_states(record)
    yield from _trial_states(record)
    yield from _reported(record)
    yield from _derived(record)


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
    states: dict[int, TrialState] = {}
    steps = []
    for event in record.events:
        if event.number is not None:
            before = states.get(event.number)
            after = _state_after(event) or before
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
    elif event.type in WHILE_RUNNING and before is not TrialState.RUNNING:
        yield f"I3: {what} is of trial {event.number}, which is {before}"
    elif event.type not in WHILE_RUNNING and after not in TRIAL_EDGES[before]:
        yield f"I7: {what} takes trial {event.number} from {before} to {after}"


def _state_after(event: Row[Any]) -> TrialState | None:
    """The state that the event leaves its trial in; None if it stays as it is."""
    if event.type == "trial-reported":
        # Told to go on in place, but the budget did not hold its next stop.
        return TrialState.QUEUED if event.data.get("queued") else None
    match event.type:
        case "trial-started":
            return TrialState.RUNNING
        case "trial-paused":
            return TrialState.PAUSED
        case "trial-created" | "trial-promoted" | "trial-requeued":
            return TrialState.QUEUED
        case "trial-finished" | "trial-reopened":
            return TrialState(event.data["state"])
    return None


def _reported(record: "Record") -> Iterator[str]:
    """I6: every decision was made on the loss that was reported; I1: every trial is trained with the params logged."""
    reports = {(report.number, report.step): report for report in record.reports}
    params: dict[int, Any] = {}
    for event in record.events:
        if "params" in event.data:
            params[event.number] = event.data["params"]
        if event.data.keys() & {"decision", "counts_at"}:
            report = reports.get((event.number, event.data["step"]))
            if report is None or report.loss != event.data["loss"]:
                yield f"I6: event {event.seq} decides on trial {event.number} by a loss that was not reported"
    for trial in record.trials:
        if trial.number in params and trial.params != params[trial.number]:
            yield f"I1: trial {trial.number} has the params {trial.params}, the log says {params[trial.number]}"


def _derived(record: "Record") -> Iterator[str]:
    """I6: decisions, promotions and all that stands in the rungs are what the engine makes of the log."""
    # Suggestions are left to the tests that are about them: a model may take its time over each.
    found = replay(record.spec, map(_event, record.events), suggestions=False)
    upto = record.study.last_seq
    if (difference := found.difference) is not None:
        upto = difference.seq - 1  # beyond it nothing is derived
        said = f"recorded {difference.recorded}, expected {difference.expected}"
        yield f"I6: at event {difference.seq}, trial {difference.trial}: {said}"
    resources = {(rung.bracket, rung.rung): rung.resource for rung in record.rungs}
    derived = {
        (e.entry.seq, e.entry.trial, e.entry.bracket, e.entry.rung, e.entry.loss, e.entry.vector, e.action, e.resource)
        for e in found.entered
    }
    stored = {
        (
            e.seq,
            e.number,
            e.bracket,
            e.rung,
            e.loss,
            tuple(e.vector or ()),
            e.decision,
            resources.get((e.bracket, e.rung)),
        )
        for e in record.entries
        if e.seq <= upto
    }
    for one in sorted(derived ^ stored, key=repr):
        where = "follows from the log alone" if one in derived else "stands in the rungs alone"
        yield f"I6: the entry (seq, trial, bracket, rung, merit, vector, decision, resource) = {one} {where}"


def _event(row: Row[Any]) -> Event:
    return Event(row.seq, EventType(row.type), row.number, row.data)
