"""Answers to creating requests, kept so that a repeated request gets the first answer and does nothing."""

import hashlib
import json
from dataclasses import dataclass

from sqlalchemy import Connection

from hpo.domain.errors import KeyInFlight, KeyReused


@dataclass(frozen=True, slots=True)
class Stored:
    status: int
    headers: dict[str, str]
    body: str


def find(tx: Connection, api_key: str, key: str, request_sha256: bytes) -> Stored | None:
    """The stored answer; None if this transaction is the first and is to store one.

    Raises KeyInFlight while another transaction works on the same key, KeyReused if the key came with another request.
    """
    # An advisory lock of the transaction (never of the session): held until the effect and the answer are committed.
    name = hashlib.sha256(f"{api_key}\0{key}".encode()).digest()[:8]
    number = int.from_bytes(name, "big", signed=True)
    if not tx.exec_driver_sql("SELECT pg_try_advisory_xact_lock(%(number)s)", {"number": number}).scalar_one():
        raise KeyInFlight("a request with this Idempotency-Key is being answered; ask again in a moment")
    row = tx.exec_driver_sql(
        "SELECT request_sha256, status, headers, body FROM idempotency_key WHERE api_key_id = %(api_key)s"
        " AND key = %(key)s",
        {"api_key": api_key, "key": key},
    ).one_or_none()
    if row is None:
        return None
    if bytes(row.request_sha256) != request_sha256:
        raise KeyReused("this Idempotency-Key came with another request before; use a fresh key for a new request")
    return Stored(row.status, row.headers, row.body)


def keep(tx: Connection, api_key: str, key: str, request_sha256: bytes, stored: Stored) -> None:
    tx.exec_driver_sql(
        "INSERT INTO idempotency_key (api_key_id, key, request_sha256, status, headers, body) VALUES (%(api_key)s,"
        " %(key)s, %(digest)s, %(status)s, %(headers)s, %(body)s)",
        {
            "api_key": api_key,
            "key": key,
            "digest": request_sha256,
            "status": stored.status,
            "headers": json.dumps(stored.headers),
            "body": stored.body,
        },
    )
