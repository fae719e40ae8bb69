"""Why a study moves or does not, in plain words, with the command that helps.

Whatever the number of studies it costs two queries, and neither looks at more than the newest events of a study.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from hpo.domain.study import STUDY_ENDED, StudyState
from hpo.domain.trial import EndClass
from hpo.spec.schedulers import AshaSpec
from hpo.spec.search import Budget
from hpo.spec.study import StudySpec
from hpo.storage import conditions as stored

QUIET_S = 30.0  # without a change for this long, with something to do: control is asked about
NEARLY = 0.9  # of a bound
FAILURES = 3  # attempts in a row
_BAD = frozenset(
    {EndClass.INFRA, EndClass.OOM, EndClass.DIVERGED, EndClass.USER_ERROR, EndClass.STALLED, EndClass.POISON}
)
_WHY = {
    "max_trials": "all trials that it may create have ended",
    "n_full": "so many trials were trained whole",
    "max_epochs": "the epochs of its budget are spent",
    "max_gpu_hours": "the device hours of its budget are spent",
    "max_wall_s": "the time of its budget has passed",
    "max_failed": "more trials failed than it allows",
    "goal": "a trial reached the goal",
    "stagnation": "nothing better was found for long enough",
    "user": "somebody stopped it",
    "imported": "it was imported as it had ended elsewhere",
    "final_failed": "the final trial came to no score",
    "none_trusted": "of no winner half of the replicates came to their end",
}
_RAISES = {"max_trials": "trials", "n_full": "n-full", "max_epochs": "epochs", "max_gpu_hours": "gpu-hours"}


@dataclass(frozen=True, slots=True)
class Condition:
    """``status`` says whether the ``type`` holds; ``since`` when that began, where it is known."""

    type: str
    status: bool
    reason: str
    message: str
    command: str | None = None
    since: datetime | None = None


def conditions(
    tx: Connection, project: UUID, rows: Sequence[Row[Any]], specs: Sequence[StudySpec], *, live_s: float
) -> list[list[Condition]]:
    """The conditions of each study, what holds it up first. ``rows`` are whole rows of the project's studies."""
    queues = stored.queues(tx, project, live_s=live_s) if any(row.state not in STUDY_ENDED for row in rows) else {}
    facts = stored.facts(tx, [row.id for row in rows])
    return [[*_of(row, spec, facts[row.id], queues)] for row, spec in zip(rows, specs, strict=True)]


def _of(row: Row[Any], spec: StudySpec, facts: Row[Any], queues: dict[str, Row[Any]]) -> Iterator[Condition]:
    state = StudyState(row.state)
    if state is StudyState.CREATED:
        message = "it was created and not started yet"
        yield Condition("Started", False, "NotStarted", message, f"ladder study start {row.name}", row.created_at)
    elif state is StudyState.PAUSED:
        yield _paused(row, facts)
    elif state in STUDY_ENDED or state is StudyState.STOPPING:
        yield _ended(row, state, facts)
    if state is StudyState.FINISHED and facts.confirming is not None:
        yield _confirming(facts)
    if state not in STUDY_ENDED or state is StudyState.FAILED:
        yield from _failing(row, facts)
    if state in (StudyState.RUNNING, StudyState.STOPPING):
        yield from _workers(row, facts, queues)
        yield from _control(row, spec, facts)
    if state is StudyState.RUNNING:
        yield from _waiting(row, spec, facts)
    if state not in STUDY_ENDED:
        yield from _budget(row, spec.budget, facts)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def _paused(row: Row[Any], facts: Row[Any]) -> Condition:
    message = f"it is paused with {_count(row.queued + row.paused, 'trial')} that wait"
    if row.running:
        message += f"; {_count(row.running, 'trial')} still save and hand back"
    return Condition("Paused", True, "ByUser", message, f"ladder study resume {row.name}", facts.state_at)


def _ended(row: Row[Any], state: StudyState, facts: Row[Any]) -> Condition:
    why = _WHY.get(row.state_reason or "", row.state_reason)
    reason = "".join(part.capitalize() for part in (row.state_reason or state.value).split("_"))
    if state is StudyState.STOPPING:
        message = f"it stops, because {why}; {_count(row.running, 'trial')} still running"
        return Condition("Ended", False, reason, message, since=facts.state_at)
    command: str | None
    if state is StudyState.CANCELLED:
        message, command = "it was cancelled", f"ladder study clone {row.name}"
    elif state is StudyState.FAILED:
        message, command = f"it failed: {why}", f"ladder trial ls {row.name} --state failed"
    else:
        flag = _RAISES.get(row.state_reason or "")
        message = f"it has finished: {why}"
        command = None if flag is None else f"ladder study extend {row.name} --{flag} N"
    return Condition("Ended", True, reason, message, command, row.finished_at)


def _confirming(facts: Row[Any]) -> Condition:
    found = facts.confirming
    message = f"study {found['name']} trains the winners anew: {found['ended']} of {found['trials']} trials have ended"
    since = datetime.fromisoformat(found["since"])
    return Condition("Confirming", True, "WinnersAreTrained", message, f"ladder study watch {found['name']}", since)


def _failing(row: Row[Any], facts: Row[Any]) -> Iterator[Condition]:
    """The newest attempts that have ended all failed alike."""
    ends = facts.ends or []
    kinds = {end["end_class"] for end in ends}
    if len(ends) < FAILURES or len(kinds) > 1 or not kinds <= _BAD:
        return
    newest, kind = ends[0], kinds.pop()
    error = newest["error"] or {}
    said = str(error.get("message", "")).strip().splitlines()
    message = f"the last {FAILURES} attempts all ended in {kind}, the newest of trial {newest['number']}"
    message += f": {said[0][:300]}" if said else ""
    reason = "".join(part.capitalize() for part in kind.split("_"))
    command = f"ladder trial get {row.name} {newest['number']}"
    yield Condition("TrialsFailing", True, reason, message, command, datetime.fromisoformat(ends[-1]["at"]))


def _workers(row: Row[Any], facts: Row[Any], queues: dict[str, Row[Any]]) -> Iterator[Condition]:
    """Whether external trainers are there is not known."""
    if not row.queue or (row.state == StudyState.STOPPING and not row.running):
        return
    here = queues.get(row.queue)
    ready, draining = (here.ready, here.draining) if here is not None else (0, 0)
    waits = f"; {_count(row.queued, 'trial')} wait{'s' * (row.queued == 1)}" if row.queued else ""
    message = f"queue {row.queue} has {_count(ready + draining, 'live worker')}"
    start = f"ladder worker --queue {row.queue}"
    if ready:
        yield Condition("WorkersAvailable", True, "LiveWorkers", message + waits)
    elif draining:
        message = f"all of queue {row.queue}'s live workers are draining ({draining}){waits}"
        yield Condition("WorkersAvailable", False, "AllDraining", message, start)
    else:
        others = sorted(name for name, queue in queues.items() if queue.ready)
        since = max(filter(None, (row.started_at, None if here is None else here.lost_at)), default=None)
        if others:
            message += f", but {', '.join(others[:5])} {'have' if len(others) > 1 else 'has'} some"
        reason = "WrongQueue" if others else "NoLiveWorker"
        yield Condition("WorkersAvailable", False, reason, f"{message}{waits}; start one: {start}", start, since)


def _control(row: Row[Any], spec: StudySpec, facts: Row[Any]) -> Iterator[Condition]:
    """Nothing runs or waits and nobody makes more: that is control's part."""
    if row.running or row.queued or facts.quiet_s < QUIET_S:
        return
    manual = spec.chosen_sampler is not None and spec.chosen_sampler.type == "manual"
    if manual and row.state == StudyState.RUNNING and not facts.enqueued and row.next_number < row.max_trials:
        message = "its sampler is manual and nothing is enqueued"
        command = f"ladder trial enqueue {row.name} NAME=VALUE"
        yield Condition("WaitingForParams", True, "NothingEnqueued", message, command, row.updated_at)
        return
    message = f"nothing was done for it for {facts.quiet_s:.0f} s although there is work: is a control process running?"
    yield Condition("ControlAlive", False, "NoProgress", message, "ladder control", row.updated_at)


def _waiting(row: Row[Any], spec: StudySpec, facts: Row[Any]) -> Iterator[Condition]:
    if row.queued and row.running >= row.max_running:
        most = f"{row.running} of at most {_count(row.max_running, 'trial')}"
        message = f"{most} run at once, {row.queued} more wait{'s' * (row.queued == 1)}: raise budget.max_concurrent"
        yield Condition("ConcurrencyFull", True, "MaxConcurrent", message)
    if row.queued or not row.paused or not facts.rungs:
        return
    scheduler = spec.chosen_scheduler
    enough = isinstance(scheduler, AshaSpec) and scheduler.n_full is not None
    if row.next_number < row.max_trials and not enough:
        return  # control makes new ones meanwhile
    top = facts.rungs[0]
    message = f"{_count(top['waiting'], 'trial')} wait{'s' * (top['waiting'] == 1)} at rung {top['rung']}"
    message += f" ({_count(top['resource'], 'epoch')}), where {top['entries']} have reported:"
    message += f" they go on once {_count(row.running, 'running trial')} ha{'ve' if row.running != 1 else 's'} reported"
    command = f"ladder rungs {row.name}"
    yield Condition("WaitingForRung", True, "RungIncomplete", message, command, row.updated_at)


def _budget(row: Row[Any], budget: Budget, facts: Row[Any]) -> Iterator[Condition]:
    """Bounds that are spent, or nearly."""
    bounds = [
        ("max_trials", "trials created", float(row.next_number), float(row.max_trials)),
        ("max_epochs", "epochs spent", float(row.spent), budget.max_epochs),
        ("max_gpu_hours", "device hours spent", facts.device_s / 3600, budget.max_gpu_hours),
        ("max_wall_s", "seconds passed", facts.wall_s or 0.0, budget.max_wall_s),
        ("max_failed", "trials failed", float(row.failed), float(budget.max_failed)),
    ]
    for name, what, used, most in bounds:
        if most is None or used < NEARLY * most or (name == "max_failed" and not used):
            continue
        spent = used >= most
        flag = _RAISES.get(name)
        command = None if flag is None else f"ladder study extend {row.name} --{flag} N"
        reason = "".join(part.capitalize() for part in name.split("_")) + ("Spent" if spent else "NearlySpent")
        yield Condition("BudgetLeft", not spent, reason, f"{used:.6g} of {most:.6g} {what}", command)
