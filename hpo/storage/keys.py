"""API keys: ``ldr_<id>_<secret>``. The secret is shown once; the table keeps its SHA-256 (RELIABILITY.md 4.1)."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, Row, create_engine

Scope = Literal["admin", "write", "read", "worker"]
DEFAULT_PROJECT = "default"
_TOKEN = re.compile(r"ldr_([0-9a-f]{1,32})_([A-Za-z0-9_-]{1,200})")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking: a key of one project with one scope."""

    key_id: str
    project: UUID
    scope: Scope


def ensure_project(tx: Connection, name: str = DEFAULT_PROJECT) -> UUID:
    """The project's id; it is made if it is missing."""
    tx.exec_driver_sql(
        "INSERT INTO project (id, name) VALUES (uuidv7(), %(name)s) ON CONFLICT (name) DO NOTHING", {"name": name}
    )
    project: UUID = tx.exec_driver_sql("SELECT id FROM project WHERE name = %(name)s", {"name": name}).scalar_one()
    return project


def add_key(tx: Connection, project: UUID, *, scope: Scope, name: str, days: int = 365) -> str:
    """Mint a key and return it whole, for the only time. It expires after ``days`` (at most 365)."""
    if not 1 <= days <= 365:
        raise ValueError(f"days must lie in 1..365, got {days}")
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    tx.exec_driver_sql(
        "INSERT INTO api_key (id, project_id, name, scope, secret_sha256, expires_at) VALUES (%(id)s, %(project)s,"
        " %(name)s, %(scope)s, %(digest)s, clock_timestamp() + make_interval(days => %(days)s))",
        {
            "id": key_id,
            "project": project,
            "name": name,
            "scope": scope,
            "digest": hashlib.sha256(secret.encode()).digest(),
            "days": days,
        },
    )
    return f"ldr_{key_id}_{secret}"


@contextmanager
def _default_project(database_url: str) -> Iterator[tuple[Connection, UUID]]:
    """A transaction of the command line's own. Raises OperationalError without a database."""
    engine = create_engine(database_url)
    try:
        with engine.begin() as tx:
            yield tx, ensure_project(tx)
    finally:
        engine.dispose()


def create_key(database_url: str, *, scope: Scope, name: str, days: int = 365) -> str:
    """Mint a key of the default project, for the command line."""
    with _default_project(database_url) as (tx, project):
        return add_key(tx, project, scope=scope, name=name, days=days)


def all_keys(database_url: str) -> list[dict[str, Any]]:
    """The keys of the default project as plain values, newest first."""
    with _default_project(database_url) as (tx, project):
        return [
            {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row._mapping.items()}
            for row in listed(tx, project)
        ]


def revoke_key(database_url: str, key_id: str) -> bool:
    """End a key of the default project; False if there is none of that id that works."""
    with _default_project(database_url) as (tx, project):
        return revoke(tx, project, key_id)


def verify(tx: Connection, token: str) -> Caller | None:
    """Who the token belongs to; None if it is malformed, unknown, wrong, expired or revoked."""
    parts = _TOKEN.fullmatch(token)
    if parts is None:
        return None
    key_id, secret = parts.groups()
    row = tx.exec_driver_sql(
        "SELECT project_id, scope, secret_sha256 FROM api_key WHERE id = %(id)s AND revoked_at IS NULL"
        " AND expires_at > clock_timestamp()",
        {"id": key_id},
    ).one_or_none()
    if row is None or not hmac.compare_digest(bytes(row.secret_sha256), hashlib.sha256(secret.encode()).digest()):
        return None
    tx.exec_driver_sql("UPDATE api_key SET last_used_at = clock_timestamp() WHERE id = %(id)s", {"id": key_id})
    return Caller(key_id, row.project_id, row.scope)


def listed(tx: Connection, project: UUID) -> Sequence[Row[Any]]:
    """The keys of a project, newest first; nothing of their secrets."""
    return tx.exec_driver_sql(
        "SELECT id, name, scope, created_at, expires_at, last_used_at, revoked_at FROM api_key"
        " WHERE project_id = %(project)s ORDER BY created_at DESC, id LIMIT 500",
        {"project": project},
    ).all()


def revoke(tx: Connection, project: UUID, key_id: str) -> bool:
    """End a key for good; False if there is none of that id that works."""
    ended = tx.exec_driver_sql(
        "UPDATE api_key SET revoked_at = clock_timestamp() WHERE id = %(id)s AND project_id = %(project)s"
        " AND revoked_at IS NULL RETURNING id",
        {"id": key_id, "project": project},
    )
    return ended.one_or_none() is not None


def audit(tx: Connection, caller: Caller, action: str, target: str, request_id: str | None) -> None:
    """Note who did what, in the transaction of the change."""
    tx.exec_driver_sql(
        "INSERT INTO audit_log (project_id, api_key_id, action, object, request_id) VALUES (%(project)s, %(key)s,"
        " %(action)s, %(object)s, %(request)s)",
        {
            "project": caller.project,
            "key": caller.key_id,
            "action": action,
            "object": target,
            "request": request_id,
        },
    )
