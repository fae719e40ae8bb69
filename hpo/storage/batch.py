"""The hot path's statements: prepared once per connection, several of them in one round trip.

Planning a claim or a report costs Postgres more than running it, and psycopg2 cannot prepare through its own protocol;
so statements are prepared by SQL (PREPARE, EXECUTE) the first time a connection meets them. A statement pooler in front
of Postgres must therefore keep a session to a connection (docs/adr/0009).
"""

import re
from functools import lru_cache
from typing import Any

from psycopg2.extras import NamedTupleCursor
from sqlalchemy import Connection

_NAME = re.compile(r"%\((\w+)\)s")


@lru_cache(maxsize=1024)
def _positional(statement: str) -> tuple[str, tuple[str, ...]]:
    """The statement with ``$1``, ``$2``, … and the parameter names in that order, each name once."""
    names: list[str] = []

    def place(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return _NAME.sub(place, statement), tuple(names)


def run(tx: Connection, statement: str, **params: Any) -> list[Any]:
    """Run one statement of the hot path; parameters stand in it as ``%(name)s``. Rows are named tuples."""
    batch = Batch()
    batch.add(statement, **params)
    return batch.run(tx)


def find(tx: Connection, statement: str, **params: Any) -> Any | None:
    """The one row of a statement, None if it has none."""
    rows = run(tx, statement, **params)
    assert len(rows) <= 1, "the statement finds at most one row"
    return rows[0] if rows else None


class Batch:
    """Collects statements and sends them together; they run in order, each sees what the one before did.

    psycopg2 binds on the client and speaks the simple protocol, which takes many statements at once: while a study's
    row is locked, every round trip saved is time that the next report does not wait.
    """

    def __init__(self) -> None:
        self._statements: list[tuple[str, dict[str, Any]]] = []

    def add(self, statement: str, **params: Any) -> None:
        self._statements.append((statement, params))

    def run(self, tx: Connection) -> list[Any]:
        """Send what was collected; returns the rows of the last statement. An empty batch does nothing.

        Raises psycopg2's own errors: SQLAlchemy's result and error wrapping would cost a quarter of a report's time.
        """
        if not self._statements:
            return []
        # ``info`` lives as long as the connection to Postgres does, and so do its prepared statements.
        known: dict[str, str] = tx.info.setdefault("prepared", {})
        new: dict[str, str] = {}
        parts: list[str] = []
        values: list[Any] = []
        for statement, params in self._statements:
            query, names = _positional(statement)
            name = known.get(statement) or new.get(statement)
            if name is None:
                # A name is used once: a batch that failed half-way may have left some of its own behind.
                tx.info["prepares"] = number = tx.info.get("prepares", 0) + 1
                name = new[statement] = f"ladder_{number}"
                parts.append(f"PREPARE {name} AS {query.replace('%', '%%')}")
            parts.append(f"EXECUTE {name}({', '.join(['%s'] * len(names))})" if names else f"EXECUTE {name}")
            values += [params[one] for one in names]
        self._statements = []
        connection: Any = tx.connection.dbapi_connection
        with connection.cursor(cursor_factory=NamedTupleCursor) as cursor:
            cursor.execute(";\n".join(parts), values)
            known.update(new)
            return cursor.fetchall() if cursor.description else []
