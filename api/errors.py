"""The one table from error code to HTTP status, and RFC 9457 problems for every error, FastAPI's own included."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import psycopg2
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from api.dashboard.problems import for_browser, problem_page
from api.limits import retry_after
from api.schemas.trials import Problem
from api.strict_json import MAX_ERRORS
from hpo.domain.errors import FieldError, InvalidSpec, LadderError, RateLimited
from hpo.spec.errors import field_errors

log = structlog.get_logger()

# code -> (status, title, what it means and what to do)
CODES: dict[str, tuple[int, str, str]] = {
    "validation_failed": (422, "Request is not valid", "Each entry of `errors` names a field by its JSON pointer."),
    "idempotency_key_reused": (422, "Idempotency-Key was used before", "Use a fresh key for a new request."),
    "malformed": (400, "Request cannot be read", "Send one JSON object, and tokens as they were given."),
    "unauthorized": (401, "No valid API key", "Send `Authorization: Bearer ldr_…`; `ladder token create` mints keys."),
    "forbidden": (403, "API key lacks the scope", "Use a key with the scope that `detail` names."),
    "not_found": (404, "Not found", "Check the name or id; `ladder study ls` lists what there is."),
    "method_not_allowed": (405, "Method not allowed", "See /api/v1/openapi.json."),
    "name_taken": (409, "Name is taken", "Choose another name."),
    "invalid_state": (409, "Not possible in this state", "`detail` says which state it is in."),
    "use_pareto": (409, "No single best trial", "Ask for the study's `/pareto`: it has several objectives."),
    "not_confirmed": (409, "Winners are not confirmed", "`detail` says why; `confirmation` of the study says more."),
    "lease_lost": (409, "Lease is lost", "Another worker has the trial or it has ended: drop its work."),
    "key_in_flight": (409, "Same request is being answered", "Ask again in a moment with the same key."),
    "protocol_mismatch": (409, "Worker speaks another protocol version", "Install the server's version of Ladder."),
    "stale_revision": (412, "Revision is stale", "Read the study again and send its ETag in If-Match."),
    "too_large": (413, "Request body is too large", "The limit is in `detail`."),
    "unsupported_media_type": (415, "Unsupported media type", "Send application/json."),
    "range_not_satisfiable": (416, "Range lies outside", "Content-Range tells how many bytes there are."),
    "rate_limited": (429, "Too many requests", "Ask again after the seconds in Retry-After, and less often."),
    "unavailable": (503, "A service behind the API is unavailable", "Try again; /readyz says which one failed."),
    "internal": (500, "Internal error", "A defect: report it with the request id."),
}
_BY_STATUS = {
    400: "malformed",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    429: "rate_limited",
    503: "unavailable",
}


def responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for the errors of a route; those that any route may answer are added."""
    every = {"validation_failed", "malformed", "unauthorized", "forbidden", "rate_limited", "unavailable", *codes}
    described: dict[int | str, dict[str, Any]] = {}
    for status in sorted({CODES[code][0] for code in every}):
        names = ", ".join(sorted(code for code in every if CODES[code][0] == status))
        described[status] = {"description": names, "content": {"application/problem+json": {"schema": _REF}}}
    return described


PROBLEM = "#/components/schemas/Problem"
_REF = {"$ref": PROBLEM}


def problem(
    request: Request,
    code: str,
    detail: str,
    errors: Sequence[FieldError] | None = None,
    headers: dict[str, str] | None = None,
    *,
    more: Mapping[str, Any] | None = None,
) -> Response:
    """The answer that tells of an error; ``more`` are members besides those of every problem (RFC 9457 3.2)."""
    status, title, _ = CODES[code]
    fields = None
    if errors is not None:
        fields = [{"pointer": e.pointer, "code": e.code, "message": e.message} for e in errors]
    body = Problem.model_validate(
        {
            "type": f"/problems/{code}",
            "title": title,
            "status": status,
            "code": code,
            "detail": detail,
            "instance": request.url.path,
            "request_id": getattr(request.state, "request_id", None),
            "errors": fields,
        }
    )
    content = body.model_dump(exclude_none=True) | dict(more or {})
    headers = dict(headers or {})
    if for_browser(request):
        return problem_page(request, _clean(content), CODES[code][2], headers)
    if status == 503:
        headers.setdefault("Retry-After", "1")
    if status == 401:
        headers.setdefault("WWW-Authenticate", "Bearer")
    return JSONResponse(_clean(content), status, headers, media_type="application/problem+json")


def _methods(request: Request) -> list[str]:
    """All that the path answers: Starlette tells those of the first route alone, and a path has one for each method."""
    found = []
    for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"):
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
            found.append(method)
    return found


def _clean(value: Any) -> Any:
    """Text of the user may hold lone surrogates, which UTF-8 cannot carry."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value


def install(app: FastAPI) -> None:
    """Answer every error as a problem. The input is never echoed whole: it may hold what JSON cannot carry."""

    @app.exception_handler(LadderError)
    def ladder_error(request: Request, error: LadderError) -> Response:
        errors = error.errors if isinstance(error, InvalidSpec) else None
        headers = {"Retry-After": retry_after(error.wait_s)} if isinstance(error, RateLimited) else None
        return problem(request, error.code, error.detail, errors, headers)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        fields = field_errors(error.errors(), error.body)
        detail = f"{len(fields)} field{'s' * (len(fields) != 1)}"
        return problem(request, "validation_failed", detail, fields[:MAX_ERRORS])

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> Response:
        code = _BY_STATUS.get(error.status_code, "internal")
        headers = dict(error.headers) if error.headers else {}
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_methods(request))
        return problem(request, code, str(error.detail), headers=headers)

    @app.exception_handler(psycopg2.Error)
    @app.exception_handler(DBAPIError)
    def database(request: Request, error: DBAPIError | psycopg2.Error) -> Response:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if getattr(cause, "pgcode", None) in ("57014", "55P03"):  # statement or lock timeout
            return problem(request, "unavailable", "the database did not answer in time")
        log.exception("database-error", path=request.url.path)
        return problem(request, "internal", "the database refused a statement")

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> Response:
        log.exception("unexpected-error", path=request.url.path, exc_info=error)
        # Starlette sends this answer outside all middleware, so the id is added here.
        headers = {"X-Request-Id": request.state.request_id}
        return problem(request, "internal", HTTPStatus(500).phrase, headers=headers)
