"""The engine, and transactions that are run again when Postgres asks for it."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg2
import structlog
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from hpo.domain.errors import Unavailable
from hpo.settings import Settings

log = structlog.get_logger()
T = TypeVar("T")

RETRIES = 5
SERIALIZATION_FAILURE, DEADLOCK = "40001", "40P01"
UNIQUE_VIOLATION = "23505"  # a twin of this request was first: run again, this one finds what the twin has done


def make_engine(settings: Settings, *, pool_size: int | None = None) -> Engine:
    """A pool of Postgres connections in READ COMMITTED; nothing is opened yet.

    READ COMMITTED on purpose: under REPEATABLE READ the snapshot would predate the study's row lock.
    """
    if settings.database_url is None:
        raise ValueError("LADDER_DATABASE_URL is not set; it looks like postgresql+psycopg2://user@host/ladder")
    return create_engine(
        settings.database_url.get_secret_value(),
        pool_size=pool_size or settings.db_pool_size,
        max_overflow=0,
        pool_timeout=settings.statement_timeout_s,
        pool_use_lifo=True,
        isolation_level="READ COMMITTED",
        connect_args={
            "options": f"-c statement_timeout={int(settings.statement_timeout_s * 1000)} -c timezone=UTC -c jit=off",
            "connect_timeout": 3,
            "application_name": "ladder",
        },
    )


class Db:
    """Runs functions of a transaction. They may run more than once, so they do nothing but talk to the database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in one transaction, again after a deadlock, a lost connection or a twin that was first.

        Raises Unavailable when the database cannot be reached. A connection lost in the middle of COMMIT leaves it
        open whether the work was done: every write below is idempotent (claim_id, step, lease, Idempotency-Key).
        """
        for tries in range(RETRIES):
            try:
                with self.engine.begin() as tx:
                    return work(tx)
            except PoolTimeout as error:
                raise Unavailable("no database connection became free in time") from error
            except (DBAPIError, psycopg2.Error) as error:
                # The hot path's statements raise psycopg2's errors; a lost connection shows when it is rolled back.
                cause = error.orig if isinstance(error, DBAPIError) else error
                code = getattr(cause, "pgcode", None)
                lost = isinstance(error, DBAPIError) and error.connection_invalidated
                if (lost or code in (SERIALIZATION_FAILURE, DEADLOCK, UNIQUE_VIOLATION)) and tries + 1 < RETRIES:
                    log.warning("transaction-retried", code=code, tries=tries + 1)
                    time.sleep(random.uniform(0, 0.01 * 2**tries))  # jitter, so that two deadlocked partners part
                    continue
                if lost or (isinstance(cause, psycopg2.OperationalError) and code is None):
                    raise Unavailable(f"Postgres cannot be reached: {_first_line(cause)}") from error
                raise
        raise AssertionError("the loop returns or raises")

    read = write  # one isolation level, one wrapper: a read is a write that changes nothing


def _first_line(error: BaseException | None) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
