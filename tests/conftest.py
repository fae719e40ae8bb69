"""Real engines for the tests: one Postgres and one Redis a process, a fresh database a test, whole stacks on demand.

``make test`` runs two processes. The tests of a file stay together, in their order, and share what the file sets up.
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ladder.stack import LocalStack
from ladder.stack_postgres import Postgres
from ladder.stack_redis import Redis, new_password

ONE_OF_SEVERAL = "PYTEST_XDIST_WORKER" in os.environ
if ONE_OF_SEVERAL:
    # As many processes as cores: threads of torch and numpy beside them would only wait for each other, spinning.
    for library in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(library, "1")

# What takes a minute begins early, the longest first, so that no process is left alone with it at the end.
LONGEST = (
    "tests/faults",
    "tests/integration/test_every_method.py",
    "tests/unit/models/test_every_architecture.py",
    "tests/property/test_simulation.py",
    "tests/integration/test_stack.py",
    "tests/contract/test_samplers.py",
    "tests/integration/test_records_cli.py",
    "tests/e2e",
    "tests/property",
)
TOGETHER = ("tests/faults",)  # share one fleet

TEMPLATE = "ladder_template"
FAST = {
    "LADDER_LEASE_TTL_S": "1.5",
    "LADDER_HEARTBEAT_S": "0.2",
    "LADDER_SWEEP_S": "0.2",
    "LADDER_RING_AGAIN_S": "1",
    "LADDER_RETRY_BACKOFF_S": "0.2",
    "LADDER_DRAIN_S": "10",
    "LADDER_KEY_CACHE_S": "1",
    "LADDER_STANDBY": "0",  # a second trainer would cost as much as all the rest of a small stack
}

StackFactory = Callable[..., LocalStack]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes the long files come first."""
    if ONE_OF_SEVERAL:
        items.sort(key=lambda item: next((n for n, path in enumerate(LONGEST) if item.nodeid.startswith(path)), 99))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file is one piece of work for a process; the fault tests are one altogether: they share a fleet."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((path for path in TOGETHER if nodeid.startswith(path)), super()._split_scope(nodeid))

    return ByFile(config, log)


@pytest.fixture(scope="session")
def engines_home() -> Iterator[Path]:
    """A short path, and not pytest's: a unix socket's path is limited to about a hundred characters."""
    home = Path(tempfile.mkdtemp(prefix="ladder-test-"))
    yield home
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def postgres(engines_home: Path) -> Iterator[Postgres]:
    """The session's server, with a migrated database to copy."""
    from hpo.storage.migrate import upgrade

    server = Postgres(engines_home, log=engines_home / "postgres.log", durable=False)
    try:
        server.start()
        server.create_database(TEMPLATE)
        upgrade(server.url(TEMPLATE))
        yield server
    finally:
        server.stop("immediate")


_database_numbers = itertools.count(1)


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """A migrated, empty database of the test's own; whoever is still connected at the end is thrown out."""
    name = f"test_{next(_database_numbers)}"
    postgres.create_database(name, template=TEMPLATE)
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def redis_server(engines_home: Path) -> Iterator[Redis]:
    server = Redis(engines_home, log=engines_home / "redis.log", password=new_password())
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """The session's Redis, emptied."""
    redis_server.flushall()
    return redis_server.url


@pytest.fixture
def stack() -> Iterator[StackFactory]:
    """Starts whole stacks with fast timings: ``stack(workers=2, settings_env={...})``. All end with the test.

    Call it from the test's own thread. ``start=False`` leaves the start to the test.
    """
    with ExitStack() as cleanup:

        def factory(
            *, start: bool = True, settings_env: dict[str, str] | None = None, home: Path | None = None, **options: Any
        ) -> LocalStack:
            if home is None:
                home = Path(tempfile.mkdtemp(prefix="ladder-test-"))
                cleanup.callback(shutil.rmtree, home)
            made = LocalStack(home, settings_env={**FAST, **(settings_env or {})}, durable=False, **options)
            cleanup.callback(made.stop)
            if start:
                made.start()
            return made

        yield factory
