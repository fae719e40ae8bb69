"""Figures of a study, and comparisons of trials and of studies."""

from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response
from sqlalchemy import Connection

from api.answers import answer
from api.caching import etag, not_modified
from api.deps import Parts, Reader, Services
from api.errors import responses
from api.routes.importance import RETRY_S, IfNoneMatch, Objective, Study, check_objective, importance_of
from api.schemas.analysis import CompareItem, Comparison, Figure
from api.views import values_of
from hpo.analysis.importance import Method
from hpo.domain.errors import FieldError, InvalidSpec, NotFound
from hpo.lifecycle.analyses import Question
from hpo.lifecycle.definitions import Definition
from hpo.spec.space import Param
from hpo.storage import figures, studies
from hpo.storage.keys import Caller

router = APIRouter(tags=["analysis"])

Plot = Literal[
    "history", "curves", "parallel", "slice", "contour", "rank", "timeline", "edf", "pareto", "hypervolume",
    "importance",
]  # fmt: skip
Names = Annotated[str | None, Query(max_length=4000, description="names of parameters, with commas between")]
MOST_COMPARED = 20
MOST_PARAMS = {"slice": 12, "parallel": 20, "rank": 4, "contour": 2}
MOST_CURVES = 50
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "not modified"}}
_UNKNOWN = "no_such_parameter"


@router.get(
    "/studies/{study}/plots/{plot}",
    response_model=Figure,
    responses={
        202: {"model": Figure, "description": "the importance is being computed; ask again after Retry-After seconds"},
        **_NOT_MODIFIED,
        **responses("not_found"),
    },
)
def get_plot(
    study: Study,
    plot: Annotated[Plot, Path(description="what to draw")],
    parts: Parts,
    caller: Reader,
    params: Annotated[
        str | None, Query(max_length=4000, description="names of parameters, with commas between")
    ] = None,
    objective: Objective = 0,
    method: Annotated[Method, Query(description="of the importance")] = "ped_anova",
    trials: Annotated[str | None, Query(max_length=1000, description="numbers, with commas: only their curves")] = None,
    metric: Annotated[str | None, Query(max_length=100, description="of the curves, instead of the objective")] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A figure for plotly.js, of at most 2 MB whatever the number of trials: ``meta`` says which of them it shows.

    slice, parallel, rank, contour, edf and importance compare trials after the same number of steps, ``at_step``. Where
    there is nothing to draw, ``data`` is empty and ``meta.reason`` says why and what to do.
    """
    from api.plots import draw  # brings plotly and Optuna, which take a second
    from api.plots.seen import Ask

    study_id = parts.names.resolve(parts.db, caller.project, study)
    definition = parts.db.read(lambda tx: parts.definitions.get(tx, study_id))
    check_objective(definition, objective)
    named = _params(definition, params, plot)
    numbers = _numbers(trials)
    _check_metric(metric)
    last = parts.db.read(lambda tx: figures.head(tx, study_id)).last_seq
    tag = etag(study_id, last, definition.revision, plot, params, objective, trials, metric)
    if plot == "importance":
        return _importance(parts, caller, study, definition, Question(method, objective), (study_id, if_none_match))
    if not_modified(tag, if_none_match):
        return Response(status_code=304, headers={"ETag": tag})
    ask = Ask(objective, named, numbers, metric)
    return _figure(draw.draw(parts.db, study_id, definition.spec, plot, ask), tag)


def _importance(
    parts: Services,
    caller: Caller,
    study: str,
    definition: Definition,
    question: Question,
    given: tuple[UUID, str | None],
) -> Response:
    from api.plots import draw

    study_id, if_none_match = given
    answered = importance_of(parts, caller, study, question)
    body = draw.importance(parts.db, study_id, definition.spec, question, answered)
    if answered.waiting:
        return Response(body, 202, {"Retry-After": str(RETRY_S)}, media_type="application/json")
    tag = etag(study_id, body)
    if not_modified(tag, if_none_match):
        return Response(status_code=304, headers={"ETag": tag})
    return _figure(body, tag)


def _figure(body: bytes, tag: str) -> Response:
    return Response(body, headers={"ETag": tag}, media_type="application/json")


def _params(definition: Definition, given: str | None, plot: str) -> tuple[Param, ...]:
    """The parameters named. Raises InvalidSpec that says which is not in the space, or how many there may be."""
    names = list(dict.fromkeys(name.strip() for name in (given or "").split(",") if name.strip()))
    space = {param.name: param for param in definition.spec.search_space}
    for name in names:
        if name not in space:
            known = ", ".join(sorted(space)[:20])
            raise _refused("params", _UNKNOWN, f"the study has no parameter {name[:100]!r}, it has {known}")
    most = MOST_PARAMS.get(plot, 200)
    fewest = 2 if plot in ("contour", "rank") and names else 0
    if not fewest <= len(names) <= most:
        wanted = f"{fewest}" if fewest == most else f"{fewest} to {most}" if fewest else f"at most {most}"
        raise _refused("params", "wrong_count", f"{plot} takes {wanted} params, got {len(names)}")
    return tuple(space[name] for name in names)


def _numbers(given: str | None) -> tuple[int, ...]:
    parts = [one.strip() for one in (given or "").split(",") if one.strip()]
    if len(parts) > MOST_CURVES:
        raise _refused("trials", "wrong_count", f"at most {MOST_CURVES} trials, got {len(parts)}")
    return tuple(dict.fromkeys(_number("trials", one) for one in parts))


def _number(field: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise _refused(field, "not_a_number", f"a trial is given by its number, got {text[:100]!r}")
    return int(text)


def _check_metric(metric: str | None) -> None:
    if metric is not None and ("\x00" in metric or not metric.isprintable()):
        raise _refused("metric", "not_printable", "metric must be printable text")


def _refused(field: str, code: str, message: str) -> InvalidSpec:
    return InvalidSpec(FieldError(f"/query/{field}", code, message))


Trials = Annotated[str | None, Query(max_length=2400, description="trials as study/number, with commas between")]
Studies = Annotated[str | None, Query(max_length=2400, description="ids or names of studies, with commas between")]


@router.get("/plots/compare", response_model=Figure, responses={**_NOT_MODIFIED, **responses("not_found")})
def plot_comparison(
    parts: Parts,
    caller: Reader,
    t: Trials = None,
    s: Studies = None,
    x: Annotated[Literal["trials", "epochs", "wall", "gpu_hours"], Query(description="with s")] = "trials",
    metric: Annotated[str | None, Query(max_length=100, description="with t, instead of the objective")] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Curves of up to 20 trials over each other, or the best so far of up to 20 studies against what they had spent.

    What a trial has cost counts from when it ended or last reported.
    """
    from api.plots import draw

    _check_metric(metric)
    trials, names = _compared(parts, caller, t, s)
    studies_of = [(study, definition) for study, definition, _ in trials]
    heads = [parts.db.read(partial(figures.head, study=study)) for study, _ in studies_of]
    tag = etag([(head.id, head.last_seq) for head in heads], t, s, x, metric)
    if not_modified(tag, if_none_match):
        return Response(status_code=304, headers={"ETag": tag})
    if t is not None:
        numbered = [(study, definition.spec, number) for study, definition, number in trials if number is not None]
        return _figure(draw.compare_trials(parts.db, numbered, names, metric), tag)
    return _figure(draw.compare_studies(parts.db, [(study, d.spec) for study, d in studies_of], x), tag)


@router.get("/compare", response_model=Comparison, responses=responses("not_found"))
def compare(parts: Parts, caller: Reader, t: Trials = None, s: Studies = None) -> Response:
    """Up to 20 trials, or up to 20 studies with their best trials, side by side; and in which params they differ."""
    chosen, _ = _compared(parts, caller, t, s)
    items = [parts.db.read(partial(_item, of=one)) for one in chosen]
    names = list(dict.fromkeys(name for item in items for name in item.params))
    missing = object()
    differing = [
        name for name in names if len({repr(item.params.get(name, missing)) for item in items}) > 1
    ]  # by repr: to Python 1 and True are equal, as choices they are not
    return answer(Comparison(items=items, differing=differing))


Compared = tuple[UUID, Definition, int | None]


def _compared(parts: Services, caller: Caller, t: str | None, s: str | None) -> tuple[list[Compared], list[str]]:
    """Studies with the numbers of trials, if any, and what each is called. Raises InvalidSpec, NotFound."""
    if (t is None) == (s is None):
        raise _refused("t", "one_of_two", "give either t=study/number,… or s=study,…")
    field, given = ("s", s or "") if t is None else ("t", t)
    names = list(dict.fromkeys(one.strip() for one in given.split(",") if one.strip()))
    if not 1 <= len(names) <= MOST_COMPARED:
        raise _refused(field, "wrong_count", f"1 to {MOST_COMPARED} can be compared, got {len(names)}")
    found: list[Compared] = []
    for name in names:
        study, slash, number = name.rpartition("/")
        if t is not None and not (slash and study):
            raise _refused("t", "not_a_trial", f"a trial is given as study/number, got {name[:100]!r}")
        study_id = parts.names.resolve(parts.db, caller.project, name if t is None else study)
        definition = parts.db.read(partial(parts.definitions.get, study=study_id))
        found.append((study_id, definition, None if t is None else _number("t", number)))
    return found, names


def _item(tx: Connection, of: Compared) -> CompareItem:
    study, definition, number = of
    head, spec = figures.head(tx, study), definition.spec
    if number is None:
        top = studies.best(tx, study)
        row = top[0] if top else None
    else:
        row = figures.find_trial(tx, study, number)
        if row is None:
            raise NotFound(f"there is no trial {number} in study {head.name}")
    return CompareItem(
        study=head.name,
        study_id=study,
        number=None if row is None else row.number,
        state=head.state if number is None or row is None else row.state,
        metric=spec.objective.metric,
        direction=spec.objective.direction,
        value=None if row is None or row.loss is None else spec.objective.value(row.loss),
        values=None if row is None else values_of(row, spec),
        last_step=None if row is None else row.last_step,
        trials=head.next_number,
        epochs=head.spent if number is None or row is None else row.last_step,
        gpu_hours=(head.device_seconds if number is None or row is None else row.device_seconds) / 3600,
        params={} if row is None else row.params,
    )
