"""The end of a confirmation: what its study has found is stored on the study that it confirms."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from hpo.analysis.confirmation import Confirmed, Replicate, Winner, confirmed, recommended, same, wilson
from hpo.domain.events import EventType
from hpo.domain.report import StepResult
from hpo.domain.study import StudyState
from hpo.domain.trial import TrialState
from hpo.spec.study import StudySpec
from hpo.storage import trials
from hpo.storage.change import StudyChange, TrialChange, word
from hpo.storage.checkpoints import newest

Json = dict[str, Any]
TEST = "test_"  # what the names of all metrics of the test part begin with

# Why a study that confirms stops with nothing to show; else it stops as its scheduler says, by max_trials.
FINAL_FAILED = "final_failed"
NONE_TRUSTED = "none_trusted"


def begun(spec: StudySpec, winners: Sequence[Winner], *, study: UUID, name: str) -> Json:
    """What is stored of a confirmation that has begun, by the study of that id and name."""
    assert spec.confirm is not None
    return {
        "state": "running",
        "reason": None,
        "study": name,
        "study_id": str(study),
        "seeds": spec.confirm.seeds,
        "folds": spec.confirm.folds,
        "train_on": spec.confirm.train_on,
        "candidates": [_candidate(one) for one in confirmed(winners, ())],
        "recommendation": None,
        "test": None,
    }


def failed(spec: StudySpec, reason: str) -> Json:
    """What is stored of a confirmation that could not begin."""
    assert spec.confirm is not None
    nothing = dict.fromkeys(("study", "study_id", "recommendation", "test"))
    kept: Json = {"seeds": spec.confirm.seeds, "folds": spec.confirm.folds, "train_on": spec.confirm.train_on}
    return nothing | kept | {"state": "failed", "reason": reason, "candidates": []}


def tell(change: StudyChange, confirmation: Json) -> None:
    """Write the event that a confirmation has begun or ended, on the study that is confirmed."""
    told: Json = {name: confirmation[name] for name in ("state", "reason", "study")}
    if confirmation["recommendation"] is not None:
        told["recommendation"] = confirmation["recommendation"]["params"]
    change.event(EventType.STUDY_UPDATED, None, {"confirmation": told})


def winners_of(confirmation: Json) -> list[Winner]:
    return [Winner(one["params"], one["trial"], one["search_value"]) for one in confirmation["candidates"]]


def replicates_of(rows: Sequence[Row[Any]], spec: StudySpec) -> list[Replicate]:
    """All trials of a study that confirms but the final one. ``spec`` is that of the study that is confirmed."""
    assert spec.confirm is not None
    folds = spec.confirm.folds is not None
    return [
        Replicate(row.number, row.params, TrialState(row.state), _values(row, spec, folds), row.violation == 0)
        for row in rows
        if row.final is None
    ]


def _values(row: Row[Any], spec: StudySpec, folds: bool) -> tuple[float, ...]:
    if row.loss is None:
        return ()
    return tuple(row.folds) if folds and row.folds else (spec.objective.value(row.loss),)


def rows_of(tx: Connection, study: UUID, spec: StudySpec) -> Sequence[Row[Any]]:
    return trials.replicates(tx, study, fold=f"fold_{spec.objective.metric}")


def score(tx: Connection, change: TrialChange, steps: Sequence[StepResult]) -> None:
    """Write down that a final trial was scored on the test part: once, whatever is reported after it.

    ``steps`` are accepted in this transaction.
    """
    last = steps[-1]
    metrics = {name: word(value) for name, value in last.metrics.items() if name.startswith(TEST)}
    if metrics and trials.sealed_score(tx, change.study) is None:
        change.event(EventType.TEST_SCORED, change.row.number, {"step": last.step, "metrics": metrics})


def score_of(tx: Connection, study: UUID) -> Row[Any] | None:
    """The event that scored a study that confirms; None unless its final trial was trained to its end."""
    query = (
        "SELECT EXISTS (SELECT 1 FROM trial WHERE study_id = %(study)s AND final IS NOT NULL AND state = 'complete')"
    )
    complete = tx.exec_driver_sql(query, {"study": study}).scalar_one()
    return trials.sealed_score(tx, study) if complete else None


_CHILD = "SELECT id, name, state, state_reason, confirms FROM study WHERE id = %(id)s"
_PARENT = """
SELECT id, last_seq, spec, confirmation FROM study WHERE id = %(id)s AND deleted_at IS NULL FOR NO KEY UPDATE"""


def conclude(tx: Connection, study: UUID) -> None:
    """Store what a study that confirms has found; the caller has just ended it. Nothing if it confirms none.

    Rows are locked in one order, the study that confirms first, by whoever locks both.
    """
    child = tx.exec_driver_sql(_CHILD, {"id": study}).one()
    if child.confirms is None:
        return
    parent = tx.exec_driver_sql(_PARENT, {"id": child.confirms}).one_or_none()
    if parent is None or parent.confirmation is None or parent.confirmation["study_id"] != str(study):
        return  # it has been searched on, and is confirmed anew, or it was deleted
    spec = StudySpec.model_validate(parent.spec)
    found = parent.confirmation | _found(tx, child, spec, parent.confirmation)
    change = StudyChange(parent.id, parent.last_seq)
    tell(change, found)
    change.bump(confirmation=json.dumps(found, allow_nan=False))
    change.run(tx)


def _found(tx: Connection, child: Row[Any], spec: StudySpec, before: Json) -> Json:
    rows = rows_of(tx, child.id, spec)
    candidates = confirmed(winners_of(before), replicates_of(rows, spec))
    final = next((row for row in rows if row.final is not None), None)
    score = score_of(tx, child.id)
    best = recommended(candidates, spec.objective) if final is None else _position(candidates, final)
    return {
        "state": "failed" if score is None else "finished",
        "reason": _reason(child, final) if score is None else None,
        "candidates": [_candidate(one) for one in candidates],
        "recommendation": None if best is None else _recommendation(tx, candidates[best], final),
        "test": None if score is None else _test(score),
    }


def _position(candidates: Sequence[Confirmed], final: Row[Any]) -> int | None:
    """Whose configuration the final trial has."""
    return next((index for index, one in enumerate(candidates) if same(one.params, final.params)), None)


def _reason(child: Row[Any], final: Row[Any] | None) -> str:
    """Why there is no score, as a sentence for the user."""
    if child.state == StudyState.CANCELLED:
        return f"study {child.name}, which confirms, was cancelled"
    if final is None and child.state_reason == NONE_TRUSTED:
        return "of no winner were half of the replicates trained to their end"
    if final is None:
        return f"study {child.name}, which confirms, ended ({child.state_reason}) before its final trial"
    return f"trial {final.number} of {child.name}, the final one, ended {final.state} without a score on the test part"


def _candidate(one: Confirmed) -> Json:
    return {
        "params": dict(one.params),
        "trial": one.trial,
        "search_value": one.search_value,
        "values": list(one.values),
        "n": one.n,
        "mean": one.mean,
        "ci95": one.ci95,
        "gap": one.gap,
        "failed": one.failed,
    }


def _recommendation(tx: Connection, one: Confirmed, final: Row[Any] | None) -> Json:
    """The configuration, and the network of it that was tested."""
    told = {name: value for name, value in _candidate(one).items() if name not in ("values", "failed")}
    saved = () if final is None else newest(tx, final.id, limit=1)
    checkpoint = {"id": str(saved[0].id), "step": saved[0].step, "sha256": saved[0].sha256} if saved else None
    return told | {"final_trial": None if final is None else final.number, "checkpoint": checkpoint}


def _test(event: Row[Any]) -> Json:
    """The score with its interval; a metric that is not finite is null."""
    metrics = {name: None if isinstance(value, str) else value for name, value in event.data["metrics"].items()}
    acc, images = metrics.get("test_acc"), metrics.get("test_images")
    low, high = (None if acc is None or images is None else wilson(acc, images)) or (None, None)
    return {
        "acc": acc,
        "acc_low": low,
        "acc_high": high,
        "loss": metrics.get("test_loss"),
        "images": None if images is None else int(images),
        "metrics": metrics,
    }
