"""How routes answer: models straight to bytes, pages with opaque tokens, creating requests that may be repeated."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Header, Request, Response
from pydantic import BaseModel
from sqlalchemy import Connection

from api.deps import Services
from hpo.domain.errors import Malformed
from hpo.lifecycle.outcome import Outcome
from hpo.storage import idempotency
from hpo.storage.idempotency import Stored
from hpo.storage.keys import Caller

_PRINTABLE = re.compile(r"[\x20-\x7e]{1,200}")
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]


def answer(
    model: BaseModel, status: int = 200, headers: dict[str, str] | None = None, *, by_alias: bool | None = None
) -> Response:
    """Serialise once, in pydantic's core: the hot path does not pay for FastAPI's second validation."""
    return Response(model.model_dump_json(by_alias=by_alias), status, headers, media_type="application/json")


def once(
    parts: Services,
    caller: Caller,
    request: Request,
    key: str | None,
    body: BaseModel | None,
    work: Callable[[Connection], tuple[Outcome[Any], Stored]],
) -> Response:
    """Run ``work`` in one transaction with the storing of its answer; a repeated key gets the stored answer.

    Raises KeyInFlight, KeyReused.
    """
    content = body.model_dump_json() if body is not None else ""
    digest = hashlib.sha256(f"{request.method} {request.url.path}?{request.url.query}\0{content}".encode()).digest()

    def write(tx: Connection) -> tuple[Outcome[Any] | None, Stored]:
        if key is not None and (before := idempotency.find(tx, caller.key_id, key, digest)) is not None:
            return None, before
        outcome, stored = work(tx)
        if key is not None:
            idempotency.keep(tx, caller.key_id, key, digest, stored)
        return outcome, stored

    outcome, stored = parts.db.write(write)
    if outcome is not None:
        parts.ring(outcome)
    kind = None if stored.status == 204 else "application/json"
    return Response(stored.body, stored.status, stored.headers, media_type=kind)


def page_token(filters: dict[str, Any], key: tuple[Any, ...]) -> str:
    """An opaque token for the page past ``key``, valid with the same filters only."""
    payload = json.dumps([_mark(filters), *key], default=str).encode()
    return base64.urlsafe_b64encode(payload).decode().rstrip("=")


def read_token(filters: dict[str, Any], token: str | None) -> list[Any] | None:
    """The key in a token; None without one. Raises Malformed if it is not ours or is for other filters."""
    if token is None:
        return None
    try:
        mark, *key = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, TypeError, RecursionError):
        raise Malformed("page_token is not one that this API gave") from None
    if mark != _mark(filters):
        raise Malformed("page_token is for a list with other filters")
    # Anybody can write a token: what Postgres cannot take as text must not get there.
    if not all(isinstance(part, int | float) or (isinstance(part, str) and _PRINTABLE.fullmatch(part)) for part in key):
        raise Malformed("page_token is not one that this API gave")
    return list(key)


def _mark(filters: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(filters, sort_keys=True, default=str).encode()).hexdigest()[:12]
