"""Importances: at once with PED-ANOVA, else asked for here, computed by control and kept while they hold."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from hpo.analysis.importance import Importance, Method, Pair, importance
from hpo.analysis.observations import Level, Observation, level_to_compare
from hpo.domain.study import STUDY_ENDED
from hpo.lifecycle.definitions import Definition, Definitions
from hpo.space.definition import Space
from hpo.storage import analysis as stored
from hpo.storage import figures
from hpo.storage.figures import Sample

KIND = "importance"
MOVED = 0.05  # the share of its trials that must have ended since, before an importance is computed anew
COMPUTE_S = 300.0  # after which whoever computes counts as dead
MOST_TRIALS = 1_000  # in an importance
SIZES = (100, 250, 500, MOST_TRIALS)  # of those that are computed in the background


@dataclass(frozen=True, slots=True)
class Question:
    """``objective`` is a position; ``n_max`` bounds the trials that are read."""

    method: Method
    objective: int = 0
    n_max: int = 500

    def __post_init__(self) -> None:
        if self.method != "ped_anova":  # each takes minutes and is kept: few distinct ones may be asked for
            object.__setattr__(self, "n_max", min(size for size in SIZES if size >= min(self.n_max, MOST_TRIALS)))

    @property
    def key(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an importance is computed from. ``basis`` is the event up to which trials count, ``ended`` how many have."""

    level: Level | None
    observations: list[Observation]
    basis: int
    ended: int
    study_ended: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class Answered:
    """``waiting``: control is at it, and ``found`` is what was found before, if anything."""

    found: Importance | None
    at_step: int | None
    basis: int
    computed_at: datetime | None
    waiting: bool = False


def evidence(tx: Connection, study: UUID, definition: Definition, n_max: int) -> Evidence:
    """At most ``n_max`` trials at the level where they are compared, evenly spread over the study."""
    head = figures.head(tx, study)  # before the trials: what comes in between is newer than it is said to be
    level = level_to_compare(figures.rungs(tx, study))
    rows = []
    if level is not None:
        rows = figures.at_level(tx, study, level, definition.spec.objectives, Sample(spread=n_max))
    return Evidence(level, rows, head.last_seq, _ended(head), head.state in STUDY_ENDED, head.now)


def _ended(head: Row[Any]) -> int:
    return int(head.complete + head.pruned + head.failed + head.cancelled)


def judging(definition: Definition, question: Question, seen: Evidence) -> Callable[[], Importance]:
    """What computes the importance: ms with PED-ANOVA, up to minutes else. It can be sent to another process."""
    if seen.level is None:
        reason = "no trial has reached a rung yet: importances come with the first results"
        return partial(Importance, 0, {}, (), reason)
    space, objective = Space.of(definition.spec), definition.spec.objectives[question.objective]
    return partial(importance, space, objective, seen.observations, which=question.objective, method=question.method)


def answered_at_once(definition: Definition, question: Question, seen: Evidence) -> Answered:
    found = judging(definition, question, seen)()
    return Answered(found, None if seen.level is None else seen.level.resource, seen.basis, seen.now)


def ask(tx: Connection, study: UUID, question: Question) -> Answered:
    """What is known; has it computed where that is nothing or no longer holds. Ring for analyses if it is waiting."""
    head = figures.head(tx, study)
    row = stored.find(tx, study, KIND, question.key)
    if row is None or (row.state in ("done", "failed") and _outdated(row, head)):
        asked = asdict(question)
        stored.request(tx, study, KIND, key=question.key, question=asked, basis=head.last_seq)
        return _kept(row, waiting=True, basis=head.last_seq)
    return _kept(row, waiting=row.state in ("waiting", "computing"), basis=head.last_seq)


def _outdated(row: Row[Any], head: Row[Any]) -> bool:
    """Whether the study has ended since, or 5 % of its trials have."""
    if row.basis == head.last_seq:
        return False
    if row.state == "failed":  # not with every trial: it may well fail again
        return bool(head.last_seq > (1 + MOVED) * row.basis)
    told = row.result or {}
    if head.state in STUDY_ENDED and not told.get("study_ended"):
        return True
    return bool(_ended(head) - told.get("ended", 0) > MOVED * told.get("ended", 0))


def _kept(row: Row[Any] | None, *, waiting: bool, basis: int) -> Answered:
    if row is None or row.result is None:
        failed = None
        if row is not None and row.error is not None and not waiting:
            failed = Importance(0, {}, reason=f"could not be computed: {row.error}")
        return Answered(failed, None, basis if row is None else row.basis, None, waiting)
    told = row.result
    pairs = tuple(Pair((pair["params"][0], pair["params"][1]), pair["value"]) for pair in told["pairs"])
    reason = told["reason"]
    if row.state == "failed":
        reason = f"could not be computed anew: {row.error}; this was found at event {told['basis']}"
    values = dict(sorted(told["values"].items(), key=lambda item: (-item[1], item[0])))  # jsonb keeps no order
    found = Importance(told["n_trials"], values, pairs, reason)
    return Answered(found, told["at_step"], told["basis"], row.computed_at, waiting)


@dataclass(frozen=True, slots=True)
class Work:
    """An analysis that this process has taken, with all that computing it needs."""

    study: UUID
    taken: Row[Any]
    definition: Definition
    question: Question
    seen: Evidence


def take(tx: Connection, definitions: Definitions, study: UUID) -> Work | None:
    """The next analysis of a study that waits; None if none does. Raises NotFound if the study is gone."""
    taken = stored.take(tx, study, again_s=2 * COMPUTE_S)
    if taken is None:
        return None
    question = Question(**taken.question)
    definition = definitions.get(tx, study)
    return Work(study, taken, definition, question, evidence(tx, study, definition, question.n_max))


def keep(tx: Connection, work: Work, found: Importance) -> None:
    told = {
        "n_trials": found.n_trials,
        "values": dict(found.values),
        "pairs": [{"params": list(pair.params), "value": pair.value} for pair in found.pairs],
        "reason": found.reason,
        "at_step": None if work.seen.level is None else work.seen.level.resource,
        "basis": work.seen.basis,
        "ended": work.seen.ended,
        "study_ended": work.seen.study_ended,
    }
    stored.finish(tx, work.study, work.taken, basis=work.seen.basis, result=told)


def give_up(tx: Connection, work: Work, why: str) -> None:
    stored.fail(tx, work.study, work.taken, basis=work.seen.basis, error=why)


def unanswered(tx: Connection) -> list[UUID]:
    """Studies with an analysis that nobody computes."""
    return list(stored.unanswered(tx, again_s=2 * COMPUTE_S))
