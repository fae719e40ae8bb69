"""Decide and propose a study again from its event log, and find where the record differs.

A scheduler is a pure function of the rung log and a sampler of the history, so every recorded decision and suggestion
can be derived by whoever has the events.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.domain.events import Event, EventType
from hpo.domain.fold import HistoryFold
from hpo.domain.history import Params, TrialRecord
from hpo.domain.trial import TrialState
from hpo.engine import Engine
from hpo.schedulers.base import Action, Decision, Promote, StudyView
from hpo.schedulers.composed import Arrival, Entered
from hpo.schedulers.rung_log import MemoryRungLog
from hpo.spec.study import StudySpec


@dataclass(frozen=True, slots=True)
class Difference:
    """The first event that could not have happened so; ``expected`` and ``recorded`` are sentences."""

    seq: int
    trial: int | None
    expected: str
    recorded: str


@dataclass(frozen=True, slots=True)
class Replay:
    """What was derived again up to the end or to the first ``difference``.

    ``entered`` holds what stands in the rungs by then, in the order of its coming, with the action of its arrival.
    ``imported`` counts the trials that have run elsewhere, of which nothing was decided or suggested here.
    """

    decisions: int
    promotions: int
    suggestions: int
    difference: Difference | None
    entered: tuple[Entered, ...] = ()
    imported: int = 0


SPACE_FIELDS = frozenset({"search_space", "forbidden", "space_constraints"})
REBUILDS = SPACE_FIELDS | {"scheduler"}  # what an engine is built from and may change


class _Differs(Exception):
    def __init__(self, expected: object, recorded: object) -> None:
        super().__init__(expected, recorded)
        self.expected, self.recorded = str(expected), str(recorded)


def replay(
    spec: StudySpec,
    events: Iterable[Event],
    *,
    suggestions: bool = True,
    earlier: Sequence[TrialRecord] = (),
    checked: Callable[[], None] = lambda: None,
) -> Replay:
    """Derive every decision and promotion again, and every suggestion unless told not to.

    ``spec`` is the study's definition as it is now; what was changed on the way stands in the log. ``earlier`` are the
    trials of other studies that a warm start began with. That a promotable trial was promoted late, or a trial created
    ahead of need, is no difference: the service may find a row locked, and it samples in advance. ``checked`` is
    called after every event.
    """
    log = list(events)
    verifier = _Verifier(_original(spec, log), log if suggestions else (), earlier)
    for event in log:
        try:
            verifier.check(event)
        except _Differs as found:
            return verifier.result(Difference(event.seq, event.trial, found.expected, found.recorded))
        checked()
    return verifier.result(None)


def _original(spec: StudySpec, log: Sequence[Event]) -> StudySpec:
    """The spec that the study began with."""
    for event in reversed(log):
        if event.type is EventType.STUDY_UPDATED and "before" in event.data:
            spec = _changed(spec, event.data["before"])
    return spec


def _changed(spec: StudySpec, changes: dict[str, Any]) -> StudySpec:
    data = spec.model_dump(mode="json")
    budget = data["budget"] | changes.get("budget", {})
    return StudySpec.model_validate(data | changes | {"budget": budget})


class _Verifier:
    """The study as the log leaves it: its rungs, where every trial stands, and what the sampler had seen."""

    def __init__(self, spec: StudySpec, log: Sequence[Event], earlier: Sequence[TrialRecord]) -> None:
        self._earlier = earlier
        self._spec = spec
        self._engine = Engine(spec, earlier)
        self._rungs = MemoryRungLog()
        self._entered: list[Entered] = []
        self._states: dict[int, TrialState] = {}
        self._count: Counter[TrialState] = Counter()
        self._due: dict[int, int] = {}  # rung that a trial reaches next
        self._target: dict[int, int | None] = {}  # None: of a trial that is to be promoted first, or has ended
        self._dropped: dict[int, int] = {}  # rung that a trial was entered at when it ended on its way there
        self._closed: dict[int, TrialState] = {}  # how the end of the study found those that it closed
        self._past: dict[int, list[tuple[int, float]]] = {}
        self._params: dict[int, Params] = {}
        self._max_trials = spec.max_trials
        self._last_seq: int | None = None
        self._seen = _Seen(log) if log else None
        self._counts = {"decisions": 0, "promotions": 0, "suggestions": 0, "imported": 0}

    def _move(self, trial: int, state: TrialState) -> None:
        # Kept as counts: a promotion would else look at every trial.
        if trial in self._states:
            self._count[self._states[trial]] -= 1
        self._states[trial] = state
        self._count[state] += 1

    def result(self, difference: Difference | None) -> Replay:
        return Replay(**self._counts, difference=difference, entered=tuple(self._entered))

    def check(self, event: Event) -> None:
        if self._last_seq is not None and event.seq <= self._last_seq:
            raise _Differs(f"a seq above {self._last_seq}", f"seq {event.seq}")
        self._last_seq = event.seq
        if missing := sorted(_fields(event) - event.data.keys()):
            raise _Differs(f"the fields {', '.join(missing)}", "none of them")
        if event.trial is None:
            self._study_updated(event.data)
            return
        if (event.trial in self._states) == (event.type is EventType.TRIAL_CREATED):
            again = "for the second time" if event.trial in self._states else "before it was created"
            raise _Differs("each trial created once, before all else", f"trial {event.trial} {again}")
        self._happened(event, event.trial)

    def _happened(self, event: Event, trial: int) -> None:
        if event.data.get("imported"):
            self._imported(event, trial)
        elif event.type is EventType.TRIAL_CREATED:
            self._created(event, trial)
        elif "decision" in event.data:
            self._decided(event, trial)
        elif event.type is EventType.TRIAL_PROMOTED:
            self._promoted(trial, event.data)
        elif event.type is EventType.TRIAL_FINISHED:
            self._ended(event, trial)
        elif event.type is EventType.TRIAL_STARTED:
            self._move(trial, TrialState.RUNNING)
        elif event.type is EventType.TRIAL_REQUEUED:
            if event.data.get("retried"):
                self._retried(trial, event.data.get("left"))
            self._move(trial, TrialState.QUEUED)
        elif event.type is EventType.TRIAL_REOPENED:
            self._reopened(trial, event.data["state"])

    def _study_updated(self, data: dict[str, Any]) -> None:
        if "changed" in data:
            self._spec = _changed(self._spec, data["changed"])
            if data["changed"].keys() & REBUILDS:
                self._engine = Engine(self._spec, self._earlier)
            self._max_trials = max(self._spec.max_trials, len(self._states))
        self._max_trials = data.get("max_trials", self._max_trials)

    def _imported(self, event: Event, trial: int) -> None:
        """A trial that was taken in as it had ended elsewhere: there is nothing to derive."""
        if event.type is not EventType.TRIAL_CREATED:
            self._move(trial, TrialState(event.data["state"]))
            return
        self._counts["imported"] += 1
        self._begin(trial, event.data["params"], self._engine.bracket_of(trial))
        if self._seen is not None:
            self._seen.created(trial, event.data["params"])

    def _created(self, event: Event, trial: int) -> None:
        data = event.data
        bracket = self._engine.bracket_of(trial)
        if data["bracket"] != bracket:
            raise _Differs(f"bracket {bracket}", f"bracket {data['bracket']}")
        if data["cursor"] >= event.seq:
            raise _Differs(f"a cursor below {event.seq}", f"cursor {data['cursor']}")
        self._begin(trial, data["params"], bracket)
        if self._seen is None:
            return
        if not data.get("enqueued"):
            self._counts["suggestions"] += 1
            asked = self._engine.ask(self._seen.history(data["cursor"], trial), trial)
            if asked != data["params"]:
                raise _Differs(asked, data["params"])
        self._seen.created(trial, data["params"])

    def _begin(self, trial: int, params: Params, bracket: int) -> None:
        self._move(trial, TrialState.QUEUED)
        self._due[trial] = 0
        self._past[trial] = []
        self._params[trial] = params
        self._target[trial] = self._engine.first_target(bracket)

    def _decided(self, event: Event, trial: int) -> None:
        data = event.data
        bracket, step = self._engine.bracket_of(trial), data["step"]
        state, target = self._states[trial], self._target[trial]
        if state is not TrialState.RUNNING or step != target:
            raise _Differs(f"no decision but at {target}, while it runs", f"{step}, while it is {state}")
        vector = tuple(data.get("vector", ()))
        violation = data.get("violation", 0.0)
        arrival = Arrival(trial, bracket, step, event.seq, data["loss"], vector, violation)
        verdict = self._engine.decide(arrival, lambda: self._past[trial], self._rungs)
        recorded = Decision(Action(data["decision"]), data.get("target"))
        if verdict.decision != recorded:
            raise _Differs(_told(verdict.decision), _told(recorded))
        if (verdict.rung, bracket) != (data["rung"], data["bracket"]):
            raise _Differs(f"rung {verdict.rung} of bracket {bracket}", f"{data['rung']} of {data['bracket']}")
        self._counts["decisions"] += 1
        self._enter(verdict.entered)
        self._past[trial].append((step, data["loss"]))
        if verdict.rung is not None:
            self._due[trial] = verdict.rung + 1
        self._target[trial] = recorded.target
        # Queued: promoted in place, but the budget did not hold its next stop.
        self._move(trial, TrialState.QUEUED if data.get("queued") else _STATE_AFTER[recorded.action])

    def _promoted(self, trial: int, data: dict[str, Any]) -> None:
        work = self._engine.next_work(self._rungs, self._view())
        place = (data["bracket"], data["rung"])
        told = {
            "bracket": data["bracket"],
            "rung": data["rung"],
            "target": data["target"],
            "source": data.get("source"),
        }
        if not isinstance(work, Promote):
            raise _Differs(work, f"a promotion of {trial}: {told}")
        source = None if work.exploit is None else work.exploit.source
        wanted = {"bracket": work.bracket, "rung": work.rung, "target": work.target, "source": source}
        if (work.trial, wanted) != (trial, told):
            raise _Differs(f"a promotion of {work.trial}: {wanted}", f"of {trial}: {told}")
        if source is not None:
            explored = self._engine.explored(self._params[source], trial, work.rung)
            if explored != data["params"]:
                raise _Differs(explored, data["params"])
            self._params[trial] = explored
        self._counts["promotions"] += 1
        self._rungs.leave(*place, trial)
        self._move(trial, TrialState.QUEUED)
        self._target[trial] = work.target

    def _ended(self, event: Event, trial: int) -> None:
        bracket, due, before = self._engine.bracket_of(trial), self._due[trial], self._states[trial]
        if before is TrialState.PAUSED:
            self._rungs.leave(bracket, due - 1, trial)
        # Who waits in vain for the end of the study is due nowhere any more, unless the study is extended.
        drops = before is TrialState.RUNNING or event.data.get("by") == "user"
        if not drops:
            self._closed[trial] = before
        entered = self._engine.scheduler.dropped(trial, bracket, due, event.seq) if drops else []
        dropped, counts_at = entered, event.data.get("counts_at")
        if counts_at is not None:
            entered = self._ended_early(event, trial, due)
            dropped = entered[1:]
        expected, recorded = dropped[0].entry.rung if dropped else None, event.data.get("dropped_at")
        if expected != recorded:
            raise _Differs(_last_of(expected), _last_of(recorded))
        if expected is not None:
            self._dropped[trial] = expected
        self._move(trial, TrialState(event.data["state"]))
        self._enter(entered)

    def _retried(self, trial: int, recorded: int | None) -> None:
        """It is as if the trial had not ended: it is entered at no rung any more that it did not come to."""
        state, expected = self._states[trial], self._dropped.pop(trial, None)
        if state not in (TrialState.FAILED, TrialState.CANCELLED):
            raise _Differs("no retry but of a failed or cancelled trial", f"a retry of one that is {state}")
        if expected != recorded:
            raise _Differs(f"a retry that leaves {_named(expected)}", f"one that leaves {_named(recorded)}")
        self._closed.pop(trial, None)
        if expected is not None:
            entry = self._rungs.remove(self._engine.bracket_of(trial), expected, trial)
            self._entered = [one for one in self._entered if one.entry is not entry]

    def _reopened(self, trial: int, recorded: str) -> None:
        state = self._closed.pop(trial, None)
        if state is None or state != recorded:
            raise _Differs(f"a trial that the end of the study found {state}", f"one that it found {recorded}")
        if state is TrialState.PAUSED:
            self._rungs.wait_again(self._engine.bracket_of(trial), self._due[trial] - 1, trial)
        self._move(trial, state)

    def _ended_early(self, event: Event, trial: int, due: int) -> list[Entered]:
        """What is entered for a trial whose trainer ended it of its own accord."""
        data = event.data
        if self._states[trial] is not TrialState.RUNNING or data["state"] != TrialState.COMPLETE:
            raise _Differs("a running trial that completes", f"{self._states[trial]}, then {data['state']}")
        vector, violation = tuple(data.get("vector", ())), data.get("violation", 0.0)
        bracket = self._engine.bracket_of(trial)
        arrival = Arrival(trial, bracket, data["step"], event.seq, data["loss"], vector, violation)
        entered = self._engine.scheduler.ended(arrival, due)
        if entered[0].resource != data["counts_at"]:
            raise _Differs(f"its loss to count at {entered[0].resource}", f"at {data['counts_at']}")
        return entered

    def _enter(self, entered: Iterable[Entered]) -> None:
        for one in entered:
            self._rungs.add(one.entry, waiting=one.waiting)
            self._entered.append(one)

    def _view(self) -> StudyView:
        return StudyView(
            created=len(self._states),
            max_trials=self._max_trials,
            queued=self._count[TrialState.QUEUED],
            running=self._count[TrialState.RUNNING],
            complete=self._count[TrialState.COMPLETE],
        )


class _Seen:
    """The history as the sampler saw it for each trial: results up to the cursor, newer trials without any."""

    def __init__(self, log: Sequence[Event]) -> None:
        self._log: Iterator[Event] = iter(log)
        self._next: Event | None = next(self._log, None)
        self._fold = HistoryFold()
        self._fresh: list[TrialRecord] = []

    def created(self, trial: int, params: Params) -> None:
        self._fresh.append(TrialRecord(trial, params, TrialState.QUEUED))

    def history(self, cursor: int, trial: int) -> Sequence[TrialRecord]:
        """Trials before ``trial``; cursors come in rising order."""
        while self._next is not None and self._next.seq <= cursor:
            self._fold.apply(self._next)
            self._next = next(self._log, None)
        known = self._fold.before(trial)
        return [*known, *self._fresh[len(known) : trial]]


def _fields(event: Event) -> frozenset[str]:
    """What the event must tell, so that it can be derived again."""
    if event.data.get("imported"):
        return frozenset({"params"} if event.type is EventType.TRIAL_CREATED else {"state"})
    wanted = _FIELDS.get(event.type, frozenset())
    if "counts_at" in event.data:
        return wanted | {"step", "loss"}
    return wanted | {"step", "loss", "bracket", "rung"} if "decision" in event.data else wanted


_FIELDS = {
    EventType.TRIAL_CREATED: frozenset({"params", "cursor", "bracket"}),
    EventType.TRIAL_PROMOTED: frozenset({"bracket", "rung", "target"}),
    EventType.TRIAL_FINISHED: frozenset({"state", "end_class"}),
    EventType.TRIAL_REOPENED: frozenset({"state"}),
}

_STATE_AFTER = {
    Action.CONTINUE: TrialState.RUNNING,
    Action.PAUSE: TrialState.PAUSED,
    Action.STOP: TrialState.PRUNED,
    Action.COMPLETE: TrialState.COMPLETE,
}


def _told(decision: Decision) -> str:
    return decision.action if decision.target is None else f"{decision.action} to {decision.target}"


def _last_of(rung: int | None) -> str:
    return f"last of {_named(rung)}"


def _named(rung: int | None) -> str:
    return "no rung" if rung is None else f"rung {rung}"
