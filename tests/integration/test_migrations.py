"""The migrations lead from nothing to the tables of the code, back, and there again."""

from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import NullPool, create_engine, inspect, text

from hpo.storage.migrate import current, downgrade, head, upgrade
from hpo.storage.tables import Base
from ladder.stack_postgres import Postgres

Schema = list[tuple[str, str]]


@pytest.fixture
def empty_url(postgres: Postgres) -> Iterator[str]:
    """A database in which no migration has run."""
    postgres.create_database("test_migrations")
    yield postgres.url("test_migrations")
    postgres.drop_database("test_migrations")


def schema(url: str) -> Schema:
    """What the catalogue says of every column, constraint and index, each as a line."""
    columns = "SELECT table_name, concat_ws(' ', column_name, data_type, is_nullable, column_default) "
    queries = (
        columns + "FROM information_schema.columns WHERE table_schema = 'public'",
        "SELECT conrelid::regclass::text, conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace",
        "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    )
    with create_engine(url, poolclass=NullPool).connect() as tx:
        return sorted((row[0], row[1]) for query in queries for row in tx.execute(text(query)))


def test_migrations_go_up_down_and_up_again_to_the_same_schema(empty_url: str) -> None:
    upgrade(empty_url)
    first = schema(empty_url)
    assert {table for table, _ in first} >= set(Base.metadata.tables)
    downgrade(empty_url, "base")
    with create_engine(empty_url, poolclass=NullPool).connect() as tx:
        assert set(inspect(tx).get_table_names()) <= {"alembic_version"}
        assert current(tx) is None
    upgrade(empty_url)
    assert schema(empty_url) == first
    with create_engine(empty_url, poolclass=NullPool).connect() as tx:
        assert current(tx) == head()


def test_the_migrated_schema_is_the_one_the_code_declares(empty_url: str) -> None:
    upgrade(empty_url)
    with create_engine(empty_url, poolclass=NullPool).connect() as tx:
        assert compare_metadata(MigrationContext.configure(tx), Base.metadata) == []


def test_migrating_a_migrated_database_changes_nothing(empty_url: str) -> None:
    upgrade(empty_url)
    before = schema(empty_url)
    upgrade(empty_url)
    assert schema(empty_url) == before
