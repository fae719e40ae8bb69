"""Alembic's entry: runs the migrations on the database that ``hpo.storage.migrate`` names, under a lock timeout."""

from alembic import context
from sqlalchemy import create_engine, pool

from hpo.storage.tables import Base

context_url = context.config.get_main_option("sqlalchemy.url")
assert context_url, "run migrations by `ladder db upgrade`, which names the database"
engine = create_engine(
    context_url, poolclass=pool.NullPool, connect_args={"options": "-c lock_timeout=2s -c statement_timeout=0"}
)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, compare_server_default=False)
    with context.begin_transaction():
        context.run_migrations()
