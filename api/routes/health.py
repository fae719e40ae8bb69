"""Is it alive, is it ready, what is it, and what do the error codes mean."""

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from redis import Redis
from redis.exceptions import RedisError

from api.answers import answer
from api.dashboard.problems import for_browser
from api.dashboard.render import page
from api.deps import Parts
from api.errors import CODES, PROBLEM, problem
from api.schemas.base import PROTOCOL_VERSION, Out
from hpo.domain.errors import NotFound, Unavailable
from hpo.storage import migrate

router = APIRouter(tags=["health"])


class Explained(Out):
    code: str
    status: int
    title: str
    meaning: str


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """The process answers; nothing else is asked."""
    return {"status": "ok"}


_NOT_READY = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/NotReady"}}}


@router.get("/readyz", responses={503: {"description": "says which part failed", "content": _NOT_READY}})
def readyz(request: Request, parts: Parts) -> Response:
    """Whether Postgres answers with this release's schema, and Redis answers; 503 says which does not."""
    checks = {"postgres": "ok", "migrations": "ok", "redis": "ok"}
    try:
        found, wanted = parts.db.read(migrate.current), migrate.head()
        if found != wanted:
            checks["migrations"] = f"the schema is at {found}, this release needs {wanted}; run: ladder db upgrade"
    except Unavailable as error:
        checks["postgres"], checks["migrations"] = error.detail, "unknown"
    try:
        with Redis.from_url(
            parts.settings.redis_url.get_secret_value(), socket_timeout=1, socket_connect_timeout=1
        ) as redis:
            redis.ping()
    except (RedisError, OSError) as error:
        checks["redis"] = str(error) or type(error).__name__
    failed = [f"{name}: {check}" for name, check in checks.items() if check != "ok"]
    told = {"ready": not failed, "checks": checks}
    return problem(request, "unavailable", "; ".join(failed), more=told) if failed else JSONResponse(told)


@router.get("/metrics", response_class=PlainTextResponse)
def metrics() -> Response:
    """Figures of this process in Prometheus' text format."""
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)


@router.get("/version")
def get_version() -> dict[str, Any]:
    """Release, worker protocol and the schema that this release needs."""
    return {"version": version("ladder-hpo"), "protocol_version": PROTOCOL_VERSION, "schema": migrate.head()}


@router.get(
    "/problems/{code}",
    response_model=Explained,
    responses={
        200: {"content": {"text/html": {"schema": {"type": "string"}}}, "description": "a page for who asks for HTML"},
        404: {"description": "not_found", "content": {"application/problem+json": {"schema": {"$ref": PROBLEM}}}},
    },
)
def explain(code: str, request: Request) -> Response:
    """What an error code means and what to do."""
    if code not in CODES:
        raise NotFound(f"there is no problem {code[:100]!r}")
    status, title, meaning = CODES[code]
    told = Explained(code=code, status=status, title=title, meaning=meaning)
    return page(request, "explained.html", None, told=told) if for_browser(request) else answer(told)
