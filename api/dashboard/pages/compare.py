"""P7: trials beside each other, or studies with their best ones: in what they differ and how they got on."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from api.dashboard.render import page, url
from api.dashboard.session import Viewing
from api.dashboard.trial_table import shown
from api.deps import Parts, Services
from api.routes.plots import compare
from api.schemas.analysis import CompareItem, Comparison
from hpo.domain.errors import InvalidSpec, NotFound
from hpo.domain.study import STUDY_ENDED
from hpo.domain.trial import TRIAL_ENDED
from hpo.storage import studies, trials

router = APIRouter(include_in_schema=False)

MOST = 20
Axis = Literal["trials", "epochs", "wall", "gpu_hours"]
AXES: dict[Axis, str] = {"trials": "trials", "epochs": "epochs", "wall": "wall time", "gpu_hours": "GPU hours"}
Given = Annotated[list[Annotated[str, Query(max_length=4000)]] | None, Query(max_length=100)]


@router.get("/compare")
def show_comparison(
    request: Request,
    parts: Parts,
    who: Viewing,
    t: Given = None,
    s: Given = None,
    every: Annotated[str, Query(alias="all", max_length=1)] = "",
    x: Axis = "trials",
    metric: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Up to 20 trials (``t``, as study/number) or studies (``s``), each repeated or with commas between."""
    kind, names = ("t", _split(t)) if _split(t) else ("s", _split(s))
    tidy = url(request, "/compare", **_query(kind, names, every, x, metric))
    if names and sorted(request.query_params.multi_items()) != sorted(_query(kind, names, every, x, metric).items()):
        return RedirectResponse(tidy, 303)  # one address for one comparison: it is there to be passed on
    found, refused = Comparison(items=[], differing=[]), ""
    if names:
        try:
            given = {"t": None, "s": None, kind: ",".join(names)}
            found = Comparison.model_validate_json(bytes(compare(parts, who.caller, **given).body))
        except InvalidSpec as error:
            refused = error.errors[0].message
        except NotFound as error:
            refused = error.detail
    rows = _metric_rows(parts, found.items) if kind == "t" else []
    listed = list(dict.fromkeys(name for item in found.items for name in item.params))
    return page(
        request,
        "compare.html",
        who,
        kind=kind,
        names=names,
        found=found,
        refused=refused,
        without=[
            url(request, "/compare", **_query(kind, names[:n] + names[n + 1 :], every, x, metric))
            for n in range(len(names))
        ],
        link=f"{request.url.scheme}://{request.headers.get('x-forwarded-host', request.url.netloc)}{tidy}",
        params=[
            (name, name in found.differing, [shown(item.params.get(name)) for item in found.items])
            for name in listed
            if every or len(found.items) == 1 or name in found.differing
        ],
        hidden=0 if every or len(found.items) == 1 else len(listed) - len(found.differing),
        metrics=rows,
        every=bool(every),
        x=x,
        axes=AXES,
        metric=metric,
        leader=_leader(found.items),
        most=MOST,
        ended=all(item.state in (STUDY_ENDED if kind == "s" else TRIAL_ENDED) for item in found.items),
    )


def _split(given: list[str] | None) -> list[str]:
    """Names without doubles, in their order."""
    return list(dict.fromkeys(name.strip() for text in given or [] for name in text.split(",") if name.strip()))


def _query(kind: str, names: list[str], every: str, x: Axis, metric: str) -> dict[str, str]:
    asked = {kind: ",".join(names), "all": "1" if every else "", "x": x if kind == "s" and x != "trials" else ""}
    return {name: value for name, value in {**asked, "metric": metric if kind == "t" else ""}.items() if value}


def _metric_rows(parts: Services, items: list[CompareItem]) -> list[tuple[str, list[str]]]:
    """The metrics of each trial's newest step; those first that all have."""

    def work(tx: Connection) -> list[dict[str, Any]]:
        found = []
        for item in items:
            assert item.number is not None  # trials are compared
            row = trials.get(tx, item.study_id, item.number)
            found.append(studies.newest_metrics(tx, [row.id]).get(row.id, {}))
        return found

    newest = parts.db.read(work)
    names = {name for one in newest for name in one}
    ordered = sorted(names, key=lambda name: (-sum(name in one for one in newest), name))
    return [(name, [shown(one.get(name)) for one in newest]) for name in ordered[:40]]


def _leader(items: list[CompareItem]) -> int | None:
    """Position of the best value, where all are of one objective."""
    valued = [(item.value, index) for index, item in enumerate(items) if item.value is not None]
    if len(valued) < 2 or len({(item.metric, item.direction) for item in items}) > 1:
        return None
    return (max if items[0].direction == "maximize" else min)(valued)[1]
