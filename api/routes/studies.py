"""Studies: create, list, read, change; their rungs and best trials."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Request, Response
from sqlalchemy import Connection, Row

from api.answers import IdempotencyKey, answer, once, page_token, read_token
from api.deps import Parts, Reader, Writer
from api.errors import responses
from api.schemas.studies import (
    BestList,
    CloneIn,
    ConfirmationRead,
    DryRun,
    ParetoFront,
    RungList,
    RungPlan,
    StudyCreate,
    StudyPage,
    StudyPatch,
    StudyRead,
)
from api.strict_json import StrictRoute
from api.views import best_trial, confirmation_read, rung_reads, study_read, study_reads
from hpo.analysis.pareto import front, hypervolume, reference_point
from hpo.domain.errors import FieldError, InvalidSpec, Malformed, UsePareto
from hpo.domain.study import StudyState
from hpo.lifecycle import studies as lifecycle
from hpo.lifecycle.outcome import Outcome
from hpo.plan import plan, spread
from hpo.spec.base import Text
from hpo.spec.confirm import epochs_to_confirm
from hpo.spec.study import StudySpec
from hpo.storage import studies as stored
from hpo.storage.idempotency import Stored
from hpo.storage.keys import audit

router = APIRouter(prefix="/studies", route_class=StrictRoute, tags=["studies"])

Study = Annotated[str, Path(description="id or name of the study", max_length=100)]
PageSize = Annotated[int, Query(ge=1, description="coerced to 1000")]
IfMatch = Annotated[str | None, Header(max_length=100, description="the ETag of the revision that is meant")]
OrderStudies = Literal["updated_at", "-updated_at", "name", "-name", "created_at", "-created_at"]


@router.post(
    "",
    status_code=201,
    response_model=StudyRead,
    responses={
        200: {"model": DryRun, "description": "the dry run"},
        **responses("name_taken", "key_in_flight", "too_large", "idempotency_key_reused"),
    },
)
def create_study(
    body: StudyCreate,
    request: Request,
    parts: Parts,
    caller: Writer,
    dry_run: bool = False,
    epoch_s: Annotated[float | None, Query(gt=0, le=10**6, description="with dry_run: seconds an epoch takes")] = None,
    workers: Annotated[int, Query(ge=1, le=1000, description="with dry_run: how many train at once")] = 1,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Create a study; control starts it as soon as the transaction has committed. A dry run stores nothing."""
    spec = lifecycle.normalise(body.to_spec(), installed=parts.settings.trainers)
    if dry_run:
        return answer(_dry_run(spec, epoch_s, workers))

    return created(parts, caller, request, idempotency_key, body=body, spec=spec, start=body.start, action="create")


def created(
    parts: Parts,
    caller: Writer,
    request: Request,
    key: str | None,
    *,
    body: StudyCreate | CloneIn,
    spec: StudySpec,
    start: bool,
    action: str,
) -> Response:
    """Store a normalised spec as a new study, once for each key."""

    def work(tx: Connection) -> tuple[Outcome[UUID], Stored]:
        outcome = lifecycle.create(tx, caller.project, spec, start=start)
        audit(tx, caller, f"study.{action}", spec.name, request.state.request_id)
        read = study_read(tx, stored.get(tx, caller.project, str(outcome.value)), live_s=parts.live_s)
        headers = {"Location": f"/api/v1/studies/{outcome.value}", "ETag": f'"{read.revision}"'}
        return outcome, Stored(201, headers, read.model_dump_json())

    return once(parts, caller, request, key, body, work)


def _dry_run(spec: StudySpec, epoch_s: float | None, workers: int) -> DryRun:
    planned, around = plan(spec), spread(spec, workers=workers)
    gpu_hours = None if epoch_s is None else planned.gpu_hours(epoch_s)
    return DryRun(
        spec=spec.model_dump(mode="json"),
        rungs=[
            RungPlan(bracket=r.bracket, rung=r.rung, resource=r.resource, trials=r.trials, epochs=r.epochs)
            for r in planned.rungs
        ],
        max_trials=spec.max_trials,
        epochs=planned.epochs,
        epochs_low=None if around is None else around.low,
        epochs_high=None if around is None else around.high,
        epochs_without_pruning=planned.epochs_without_pruning,
        confirm_epochs=epochs_to_confirm(spec),
        gpu_hours=gpu_hours,
        hours=None if gpu_hours is None else gpu_hours / workers,
    )


@router.get("", response_model=StudyPage, responses=responses())
def list_studies(
    parts: Parts,
    caller: Reader,
    state: Annotated[list[StudyState] | None, Query()] = None,
    label: Annotated[list[Text] | None, Query(description="key:value, may be repeated")] = None,
    name: Annotated[Text | None, Query(max_length=100, description="a part of the name, in any case")] = None,
    confirmations: Annotated[bool, Query(description="true: also the studies that confirm others")] = False,
    archived: Annotated[bool, Query(description="true: also those that are archived")] = False,
    order_by: OrderStudies = "-updated_at",
    page_size: PageSize = 50,
    page_token_: Annotated[str | None, Query(alias="page_token", max_length=1000)] = None,
) -> Response:
    """Studies, the last changed first unless asked otherwise."""
    size = min(page_size, 1000)
    labels = dict(_label(text) for text in label or [])
    filters: dict[str, Any] = {"state": sorted(state or []), "label": labels, "name": name, "order_by": order_by}
    filters |= {"confirmations": confirmations, "archived": archived}
    token = read_token(filters, page_token_)
    order: Any = order_by.removeprefix("-")
    after = None if token is None else place_of(token, order)

    def work(tx: Connection) -> tuple[list[StudyRead], str | None]:
        rows = stored.page(
            tx,
            caller.project,
            states=[s.value for s in state or []],
            labels=labels,
            part=name,
            confirmations=confirmations,
            archived=archived,
            order=order,
            descending=order_by.startswith("-"),
            after=after,
            limit=size + 1,
        )
        reads = study_reads(tx, rows[:size], live_s=parts.live_s)
        more = len(rows) > size
        return reads, page_token(filters, (getattr(rows[size - 1], order), rows[size - 1].id)) if more else None

    items, next_token = parts.db.read(work)
    return answer(StudyPage(items=items, next_page_token=next_token))


def _label(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise InvalidSpec(FieldError("/query/label", "not_a_pair", f"label must be key:value, got {text[:100]!r}"))
    return name, value


def place_of(token: list[Any], order: stored.OrderBy) -> tuple[Any, UUID]:
    """Where a page of studies goes on. Raises Malformed for a token that was not given out."""
    try:
        value, study = token
        return str(value) if order == "name" else datetime.fromisoformat(value), UUID(study)
    except (ValueError, AttributeError, TypeError):
        raise Malformed("page_token is not one that this API gave") from None


@router.get("/{study}", response_model=StudyRead, responses=responses("not_found"))
def get_study(study: Study, parts: Parts, caller: Reader) -> Response:
    """One study with its counts, its best trial and why it may stand still."""
    read = parts.db.read(lambda tx: study_read(tx, stored.get(tx, caller.project, study), live_s=parts.live_s))
    return answer(read, headers={"ETag": f'"{read.revision}"'})


@router.patch("/{study}", response_model=StudyRead, responses=responses("not_found", "stale_revision", "invalid_state"))
def patch_study(
    study: Study,
    body: StudyPatch,
    request: Request,
    parts: Parts,
    caller: Writer,
    if_match: IfMatch = None,
) -> Response:
    """Change budget, labels or description; If-Match guards against another's change in between."""
    revision = revision_of(if_match)
    changes = body.model_dump(exclude_unset=True)

    def work(tx: Connection) -> tuple[Outcome[None], StudyRead]:
        study_id = stored.resolve(tx, caller.project, study)
        outcome = lifecycle.patch(tx, caller.project, study_id, changes, revision=revision)
        audit(tx, caller, "study.patch", str(study_id), request.state.request_id)
        return outcome, study_read(tx, stored.get(tx, caller.project, str(study_id)), live_s=parts.live_s)

    outcome, read = parts.db.write(work)
    parts.ring(outcome)
    return answer(read, headers={"ETag": f'"{read.revision}"'})


def revision_of(etag: str | None) -> int | None:
    """The revision that an If-Match names; None where it names none."""
    if etag is None or etag == "*":
        return None
    text = etag.removeprefix("W/").strip('"').partition("-")[0]  # what a GET adds tells of the counts
    if not (text.isdecimal() and text.isascii() and len(text) < 10):
        raise Malformed(f"If-Match must be an ETag that this API gave, got {etag[:50]!r}")
    return int(text)


@router.get("/{study}/rungs", response_model=RungList, responses=responses("not_found"))
def get_rungs(study: Study, parts: Parts, caller: Reader) -> Response:
    """The rungs: how many trials reported, were promoted, wait and run, and the value needed to go on."""

    def work(tx: Connection) -> RungList:
        row = stored.get(tx, caller.project, study)
        return RungList(items=rung_reads(tx, row, parts.definitions.get(tx, row.id)))

    return answer(parts.db.read(work))


@router.get(
    "/{study}/best",
    response_model=BestList | ConfirmationRead,
    responses=responses("not_found", "use_pareto", "not_confirmed"),
)
def get_best(
    study: Study,
    parts: Parts,
    caller: Reader,
    top: Annotated[int, Query(ge=1, le=100)] = 5,
    confirmed: Annotated[bool, Query(description="true: instead what became of the winners, trained anew")] = False,
) -> Response:
    """The best trials by the objective at their newest step; with ``confirmed`` the confirmation."""

    def work(tx: Connection) -> BestList | ConfirmationRead:
        row = stored.get(tx, caller.project, study)
        if confirmed:
            return confirmation_read(tx, row)
        spec = parts.definitions.get(tx, row.id).spec
        if len(spec.objectives) > 1:
            raise UsePareto(f"the study has {len(spec.objectives)} objectives and no single best: ask for its pareto")
        rows = stored.best(tx, row.id, top)
        metrics = stored.newest_metrics(tx, [one.id for one in rows])
        return BestList(items=[best_trial(one, spec, metrics.get(one.id, {})) for one in rows])

    return answer(parts.db.read(work))


@router.get("/{study}/pareto", response_model=ParetoFront, responses=responses("not_found"))
def get_pareto(study: Study, parts: Parts, caller: Reader) -> Response:
    """The trials that no other beats in every objective, and the hypervolume that they dominate."""

    def read(tx: Connection) -> tuple[StudySpec, Sequence[Row[Any]]]:
        row = stored.get(tx, caller.project, study)
        spec = parts.definitions.get(tx, row.id).spec
        return spec, stored.vectors(tx, row.id) if len(spec.objectives) > 1 else stored.best(tx, row.id)

    spec, rows = parts.db.read(read)
    vectors = [one.vector if len(spec.objectives) > 1 else [one.loss] for one in rows]
    if not vectors:
        return answer(ParetoFront(items=[], hypervolume=None, reference_point=None))
    # With no transaction open: of many trials with several objectives it takes seconds.
    chosen = [rows[position] for position in front(vectors)]
    reference = reference_point(vectors)
    volume = hypervolume(vectors, reference)
    metrics = parts.db.read(lambda tx: stored.newest_metrics(tx, [one.id for one in chosen]))
    return answer(
        ParetoFront(
            items=[best_trial(one, spec, metrics.get(one.id, {})) for one in chosen],
            hypervolume=volume,
            reference_point=[o.value(loss) for o, loss in zip(spec.objectives, reference, strict=True)],
        )
    )
