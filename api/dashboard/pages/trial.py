"""P5: one trial: what it is, how it learned, what was decided, who trained it, and what it said."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import Connection, Row

from api.dashboard.curves import Chart, chart
from api.dashboard.pages.studies import Study, back
from api.dashboard.pages.trials import DONE, act
from api.dashboard.render import page
from api.dashboard.session import Form, Viewing
from api.dashboard.trial_story import broken_bounds, decisions, hint, rungs
from api.dashboard.trial_table import shown
from api.dashboard.words import ENDS
from api.deps import Parts
from api.schemas.studies import BestTrial
from api.schemas.trials import ConfusionRead
from api.views import artifact_read, attempt_read, best_trial, confusion_read, finite, schedule
from hpo.domain.merit import INFEASIBLE
from hpo.domain.study import STUDY_ENDED, StudyState
from hpo.domain.trial import TRIAL_ENDED, TrialState
from hpo.lifecycle.definitions import Definition
from hpo.spec.space import CategoricalParam, FixedParam, Param
from hpo.spec.study import StudySpec
from hpo.storage import logs, reports, studies, trial_view, trials
from hpo.storage.rungs import SqlRungLog

router = APIRouter(include_in_schema=False)

Number = Annotated[int, Path(ge=0, le=2**31 - 1)]
FIRST_METRICS = 4
MAX_METRICS = 12
WHOLE_MATRIX = 20  # classes; of more only what went wrong is listed
LOG_LINES, LOG_CHARS = 300, 30_000


@router.get("/studies/{study}/trials/{number}")
def show_trial(
    request: Request,
    parts: Parts,
    who: Viewing,
    study: Study,
    number: Number,
    metric: Annotated[list[Annotated[str, Query(max_length=100)]] | None, Query(max_length=100)] = None,
    attempt: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    find: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Raises NotFound."""

    def work(tx: Connection) -> dict[str, Any]:
        row = studies.get(tx, who.caller.project, study)
        definition = parts.definitions.get(tx, row.id, revision=row.revision)
        spec, trial = definition.spec, trials.get(tx, row.id, number)
        newest = studies.newest_metrics(tx, [trial.id]).get(trial.id, {})
        points = trial_view.points(tx, trial.id, last_step=trial.last_step)
        names = _metric_names(points, spec)
        chosen = [name for name in metric or names[:FIRST_METRICS] if name in names][:MAX_METRICS]
        top = studies.best(tx, row.id) if len(spec.objectives) == 1 else ()
        best = best_trial(top[0], spec, {}) if top else None
        attempts = trials.attempts(tx, trial.id)
        broken = broken_bounds(spec, newest)
        ended = trial.state in TRIAL_ENDED and row.state in STUDY_ENDED
        return {
            "study": row,
            "spec": spec,
            "trial": trial,
            "value": None if trial.loss is None else spec.objective.value(trial.loss),
            "best": best,
            "params": _params(trial, spec, best),
            "names": names,
            "charts": _charts(tx, trial, definition, points, chosen),
            "chosen": chosen,
            "newest": finite(newest),
            "points": points,
            "broken": broken,
            "decisions": decisions(trial_view.standings(tx, row.id, number, trial.id), trial, spec),
            "attempts": [attempt_read(one) for one in attempts],
            "checkpoints": [artifact_read(one) for one in trials.artifacts(tx, trial.id)],
            "confusion": _confusion(tx, trial, row),
            "segments": schedule(tx, row.id, number) if spec.scheduler.type == "pbt" else [],
            "hint": hint(trial, trial.error.get("type"), broken) if trial.error else None,
            "log": _log(tx, trial, attempt, find),
            "heartbeat": _heartbeat(trial),
            "ended": ended,
            "verbs": _verbs(trial, StudyState(row.state)),
        }

    found = parts.db.read(work)
    return page(request, "trial.html", who, find=find, ends=ENDS, shown=shown, **found)


def _metric_names(points: Sequence[Row[Any]], spec: StudySpec) -> list[str]:
    """The objectives first, then what else was reported, those of one kind together."""
    reported = {name for point in points for name in point.metrics}
    own = [one.metric for one in spec.objectives if one.metric in reported]
    usual = [name for name in ("val_loss", "train_loss", "lr", "images_per_s", "peak_memory_mb") if name in reported]
    return list(dict.fromkeys([*own, *usual, *sorted(reported)]))


def _charts(
    tx: Connection, trial: Row[Any], definition: Definition, points: Sequence[Row[Any]], chosen: Sequence[str]
) -> list[Chart]:
    """One drawing a metric; the rungs' cut-offs stand in that of the objective."""
    scheduler, log, objective = definition.engine.scheduler, SqlRungLog(tx, trial.study_id), definition.spec.objective
    ladder = trial_view.ladder(tx, trial.study_id, trial.bracket)
    cuts = [scheduler.cutoff(one.bracket, one.rung, log) if objective.metric in chosen else None for one in ladder]
    marks = rungs(ladder, [None if cut is None or cut >= INFEASIBLE else cut for cut in cuts], definition.spec)
    plain = [(step, label, None) for step, label, _ in marks]
    drawn = [
        chart(
            name,
            [(point.step, point.metrics.get(name)) for point in points],
            marks if name == objective.metric else plain,
            last_step=trial.target_step,
        )
        for name in chosen
    ]
    return [one for one in drawn if one is not None]


def _params(trial: Row[Any], spec: StudySpec, best: BestTrial | None) -> list[tuple[str, str, str, bool, str]]:
    """Name, value, that of the best trial, whether they differ, and what the parameter ranges over."""
    theirs = {} if best is None or best.number == trial.number else best.params
    lines = []
    for param in spec.search_space:
        own, other = trial.params.get(param.name), theirs.get(param.name)
        differs = bool(theirs) and own != other
        lines.append((param.name, shown(own, 200), shown(other, 200) if theirs else "", differs, _range(param)))
    return lines


def _range(param: Param) -> str:
    if isinstance(param, FixedParam):
        return "fixed"
    if isinstance(param, CategoricalParam):
        text = ", ".join(shown(choice, 20) for choice in param.choices[:8])
        return f"{text}, …" if len(param.choices) > 8 else text
    step = f", step {shown(param.step)}" if param.step not in (None, 1) else ""
    return f"{shown(param.low)} … {shown(param.high)}{' log' if param.log else ''}{step}"


def _confusion(tx: Connection, trial: Row[Any], study: Row[Any]) -> dict[str, Any] | None:
    """The newest matrix; of many classes only the worst, and what they were taken for most often."""
    row = reports.find_confusion(tx, trial.id, step=None)
    if row is None:
        return None
    read: ConfusionRead = confusion_read(row, study.class_names)
    whole = len(read.matrix) <= WHOLE_MATRIX
    mistakes = [
        (count, read.class_names[true], read.class_names[predicted])
        for true, counts in enumerate(read.matrix)
        for predicted, count in enumerate(counts)
        if count and true != predicted
    ]
    return {
        "read": read,
        "whole": whole,
        "worst": [] if whole else sorted(read.per_class, key=lambda one: one.recall)[:WHOLE_MATRIX],
        "mistakes": sorted(mistakes, reverse=True)[:10],
    }


def _log(tx: Connection, trial: Row[Any], attempt: int | None, find: str) -> dict[str, Any]:
    """The newest lines of an attempt that hold a text; ``after`` is where to go on from."""
    chosen = min(attempt or trial.attempt, trial.attempt)
    rows = logs.tail(tx, trial.id, chosen, limit=logs.KEPT_LINES if find else LOG_LINES) if chosen else []
    kept: list[Any] = []
    size = 0
    for row in reversed(rows):
        if find.lower() not in row.text.lower():
            continue
        size += len(row.text) + 40
        if size > LOG_CHARS or len(kept) == LOG_LINES:
            break
        kept.append(row)
    return {
        "attempt": chosen,
        "lines": kept[::-1],
        "after": rows[-1].position if rows else 0,
        "cut": len(rows) == LOG_LINES or size > LOG_CHARS,
        "live": trial.state == TrialState.RUNNING and chosen == trial.attempt,
    }


def _heartbeat(trial: Row[Any]) -> datetime | None:
    """When the lease was last renewed."""
    if trial.lease_expires_at is None or trial.lease_ttl_s is None:
        return None
    renewed: datetime = trial.lease_expires_at - timedelta(seconds=trial.lease_ttl_s)
    return renewed


def _verbs(trial: Row[Any], study: StudyState) -> list[tuple[str, str]]:
    found = []
    if trial.state not in TRIAL_ENDED:
        found.append(("stop", "Stop"))
    if trial.state in (TrialState.FAILED, TrialState.CANCELLED) and study in (StudyState.RUNNING, StudyState.PAUSED):
        found.append(("retry", "Retry"))
    if study in (StudyState.CREATED, StudyState.RUNNING, StudyState.PAUSED):
        found.append(("enqueue", "Enqueue copy"))
    return found


@router.post("/studies/{study}/trials/{number}/{verb}")
def command(
    request: Request, parts: Parts, form: Form, study: Study, number: Number, verb: Literal["stop", "retry", "enqueue"]
) -> Response:
    """Stop or retry the trial, or have its params trained once more."""
    study_id = parts.db.read(lambda tx: studies.resolve(tx, form.caller.project, study))
    act(request, parts, form, study_id, number, verb=verb)
    said = f"{DONE[verb]} trial {number}." if verb != "enqueue" else f"A copy of trial {number} waits to be trained."
    return back(request, form, said, to=f"/studies/{study}/trials/{number}")
