"""P3: a study with its tabs. Each tab is a page of its own, so that its address can be shared."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import Connection, Row

from api.dashboard.heading import Heading, heading
from api.dashboard.render import here, page
from api.dashboard.rungs import RungsView, rungs_view
from api.dashboard.session import Viewing
from api.dashboard.spec_text import differences, dumped
from api.dashboard.words import tell
from api.deps import Parts
from api.views import best_trial
from hpo.analysis.pareto import front
from hpo.domain.events import EventType
from hpo.lifecycle.definitions import Definition
from hpo.storage import event_pages, figures
from hpo.storage import studies as stored
from hpo.storage.event_pages import EventPage
from hpo.storage.study_facts import by_number

router = APIRouter(include_in_schema=False, prefix="/studies/{study}")

TOP = 40  # trials in the overview's table, which its brushes choose from
BRUSHED = 20  # parameters that a brush may be on: so many axes has the figure at most
ON_FRONT = 100
EVENTS = 50
LAST = 8
CONTOUR = 2  # parameters

Study = Annotated[str, Path(max_length=100)]
Told = tuple[Row[Any], str]
Shown = dict[str, Any]


def _told(events: Sequence[Row[Any]], head: Heading) -> list[Told]:
    return [(row, tell(row.type, row.data, head.study.objective)) for row in events]


@router.get("")
def overview(request: Request, parts: Parts, who: Viewing, study: Study) -> Response:
    """What a person wants to see first, and what the search has come to."""

    def work(tx: Connection) -> tuple[Heading, RungsView | None, list[Any], EventPage]:
        head = heading(tx, parts, who.caller, study)
        definition = parts.definitions.get(tx, head.study.id)
        rows = stored.best(tx, head.study.id, TOP) if len(definition.spec.objectives) == 1 else []
        events = event_pages.newest(tx, head.study.id, before=head.last_seq + 1, limit=LAST)
        view = rungs_view(tx, definition, head, compact=True)
        return head, view, [best_trial(row, definition.spec, {}) for row in rows], events

    head, view, top, events = parts.db.read(work)
    names = [param.name for param in head.study.search_space]
    return page(
        request,
        "study/overview.html",
        who,
        head=head,
        tab="overview",
        view=view,
        top=top,
        events=_told(events.items, head),
        names=names,
        brushable=lambda params: {name: params[name] for name in names[:BRUSHED] if name in params},
    )


@router.get("/rungs")
def rungs(
    request: Request,
    parts: Parts,
    who: Viewing,
    study: Study,
    bracket: Annotated[int | None, Query(ge=-100, le=2**31 - 1)] = None,
    scale: Literal["shared", "rung"] = "shared",
) -> Response:
    """Who waits, who went on and who was stopped at each rung, and what it takes to go on."""

    def work(tx: Connection) -> tuple[Heading, RungsView | None]:
        head = heading(tx, parts, who.caller, study)
        definition = parts.definitions.get(tx, head.study.id)
        return head, rungs_view(tx, definition, head, bracket=bracket, scale=scale)

    head, view = parts.db.read(work)
    return page(request, "study/rungs.html", who, head=head, tab="rungs", view=view, asked=bracket, scale=scale)


@router.get("/params")
def params(
    request: Request,
    parts: Parts,
    who: Viewing,
    study: Study,
    x: Annotated[str, Query(max_length=100)] = "",
    y: Annotated[str, Query(max_length=100)] = "",
    method: Literal["ped_anova", "fanova", "mdi"] = "ped_anova",
    objective: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """Which parameters matter, and where their good values lie."""
    head = parts.db.read(lambda tx: heading(tx, parts, who.caller, study))
    names = [param.name for param in head.study.search_space if param.type != "fixed"]
    # A name that the space does not have, such as one of an older link, falls back to the first ones.
    x = x if x in names else next(iter(names), "")
    y = y if y in names and y != x else next((name for name in names if name != x), "")
    chosen = min(objective, len(head.study.objectives) - 1)
    shown: Shown = {"x": x, "y": y, "method": method, "objective": chosen, "names": names}
    return page(request, "study/params.html", who, head=head, tab="params", **shown)


@router.get("/pareto")
def pareto(request: Request, parts: Parts, who: Viewing, study: Study) -> Response:
    """The trials that no other beats in every objective."""

    def read(tx: Connection) -> tuple[Heading, Definition, Sequence[tuple[float, ...]]]:
        head = heading(tx, parts, who.caller, study)
        definition = parts.definitions.get(tx, head.study.id)
        several = len(definition.spec.objectives)
        numbers = head.row.next_number
        if several == 1:
            return head, definition, ()
        return head, definition, figures.fronts(tx, head.study.id, several, numbers=numbers, stretches=1).rows

    head, definition, rows = parts.db.read(read)
    # With no transaction open; best by the first objective first.
    losses = [row[2:] for row in rows]
    members = [int(rows[at][1]) for at in sorted(front(losses), key=lambda at: losses[at])] if losses else []
    shown = members[:ON_FRONT]
    found = parts.db.read(lambda tx: by_number(tx, head.study.id, shown))
    items = [best_trial(found[number], definition.spec, {}) for number in shown if number in found]
    return page(request, "study/pareto.html", who, head=head, tab="pareto", items=items, members=len(members))


@router.get("/timeline")
def timeline(request: Request, parts: Parts, who: Viewing, study: Study) -> Response:
    """Which worker trained what and when."""
    head = parts.db.read(lambda tx: heading(tx, parts, who.caller, study))
    return page(request, "study/timeline.html", who, head=head, tab="timeline")


@router.get("/config")
def config(request: Request, parts: Parts, who: Viewing, study: Study) -> Response:
    """What was asked for, as a file that can be sent again."""
    head = parts.db.read(lambda tx: heading(tx, parts, who.caller, study))
    shown: Shown = {"text": dumped(head.row.spec), "differences": differences(head.row.spec)}
    return page(request, "study/config.html", who, head=head, tab="config", **shown)


@router.get("/config.yaml")
def config_file(parts: Parts, who: Viewing, study: Study) -> Response:
    """The normalised definition as a file; `ladder study create -f` takes it under another name."""
    row = parts.db.read(lambda tx: stored.get(tx, who.caller.project, study))
    headers = {
        "Content-Disposition": f'attachment; filename="{row.name}.yaml"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return Response(dumped(row.spec), headers=headers, media_type="application/yaml")


@router.get("/events")
def events(
    request: Request,
    parts: Parts,
    who: Viewing,
    study: Study,
    type: Literal["", *EventType] = "",  # type: ignore[valid-type]
    trial: Annotated[str, Query(max_length=9, pattern=r"^\d*$")] = "",
    before: Annotated[int | None, Query(ge=0, le=10**18)] = None,
) -> Response:
    """The log in words, newest first."""

    def work(tx: Connection) -> tuple[Heading, EventPage]:
        head = heading(tx, parts, who.caller, study)
        past = head.last_seq + 1 if before is None else before
        number = int(trial) if trial else None
        return head, event_pages.newest(tx, head.study.id, before=past, limit=EVENTS, type=type or None, number=number)

    head, found = parts.db.read(work)
    older = None if found.before is None else here(request, before=found.before)
    shown: Shown = {"events": _told(found.items, head), "older": older, "types": [one.value for one in EventType]}
    return page(
        request, "study/events.html", who, head=head, tab="events", type=type, trial=trial, before=before, **shown
    )
