"""Bring a database to this release's schema, and tell whether it is there."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

import migrations


def alembic_config(database_url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("sqlalchemy.url", database_url.replace("%", "%%"))  # the option is read with interpolation
    return config


def upgrade(database_url: str, revision: str = "head") -> None:
    """Run the migrations that are missing. Raises SQLAlchemy's OperationalError if the database cannot be reached."""
    command.upgrade(alembic_config(database_url), revision)


def downgrade(database_url: str, revision: str) -> None:
    command.downgrade(alembic_config(database_url), revision)


@cache
def head() -> str:
    """The newest revision that this release knows; read once, since every probe of ``readyz`` asks for it."""
    revision = ScriptDirectory.from_config(alembic_config("")).get_current_head()
    assert revision is not None
    return revision


def current(tx: Connection) -> str | None:
    """The revision of the database, None before the first migration."""
    return MigrationContext.configure(tx).get_current_revision()
