"""``ladder db …`` and ``ladder token …``: for whoever may reach the database itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import typer

from ladder.cli.options import AsJson
from ladder.cli.output import emit, emit_lines, say, table, talk
from ladder.errors import LocalError

app = typer.Typer(help="The database's schema.", no_args_is_help=True)
tokens = typer.Typer(help="Keys of the API.", no_args_is_help=True)
Scope = Literal["read", "write", "worker", "admin"]


@app.callback()
def _group() -> None:
    """The database's schema."""


@tokens.callback()
def _tokens() -> None:
    """Keys of the API."""


@app.command()
def upgrade(as_json: AsJson = False) -> None:
    """Bring the database (LADDER_DATABASE_URL) to this release's schema."""
    with _database() as url:
        from hpo.storage.migrate import head
        from hpo.storage.migrate import upgrade as migrate

        migrate(url)
        if as_json:
            emit({"revision": head()})
        else:
            say(f"schema is at {head()}")


@tokens.command("create")
def create(
    scope: Annotated[Scope, typer.Option(help="What it may do.")],
    name: Annotated[str, typer.Option(help="Whose key it is, for the list of keys.")] = "cli",
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown once: only its hash is stored."""
    with _database() as url:
        from hpo.storage.keys import create_key

        token = create_key(url, scope=scope, name=name)
    if as_json:
        emit({"token": token, "scope": scope, "name": name})
    else:
        say(token)
        talk("keep it: it cannot be shown again")


@tokens.command("ls")
def list_keys(as_json: AsJson = False) -> None:
    """The keys that were made, newest first; nothing of their secrets."""
    with _database() as url:
        from hpo.storage.keys import all_keys

        rows = all_keys(url)
    if as_json:
        emit_lines(rows)
    else:
        columns = ("key", "name", "scope", "created", "expires", "last used", "revoked")
        table(columns, [list(row.values()) for row in rows])


@tokens.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(help="Its id, as `ladder token ls` shows it.")], as_json: AsJson = False
) -> None:
    """End a key for good; servers that have seen it lately still take it for LADDER_KEY_CACHE_S seconds."""
    with _database() as url:
        from hpo.storage.keys import revoke_key

        ended = revoke_key(url, key)
    if not ended:
        raise LocalError(f"there is no key {key!r} that works", "ladder token ls")
    if as_json:
        emit({"key": key, "revoked": True})
    else:
        say(f"{key} is revoked")


@contextmanager
def _database() -> Iterator[str]:
    """The database's URL; what it refuses is told in a line."""
    from sqlalchemy.exc import ArgumentError, DBAPIError

    from ladder.cli.server import settings_from

    url = settings_from().database_url
    if url is None:
        raise LocalError(
            "LADDER_DATABASE_URL is not set, and no local stack runs",
            "export LADDER_DATABASE_URL=postgresql+psycopg2://user@host/ladder, or `ladder up`",
        )
    try:
        yield url.get_secret_value()
    except ArgumentError as error:
        raise LocalError("LADDER_DATABASE_URL is no database URL", "postgresql+psycopg2://user@host/ladder") from error
    except DBAPIError as error:
        first = str(error.orig).strip().splitlines()[0]
        missing = getattr(error.orig, "pgcode", None) == "42P01"  # undefined table
        raise LocalError(f"Postgres: {first}", "ladder db upgrade" if missing else "ladder doctor") from error
