"""The API over real HTTP on the session's engines; every test has a project, and so keys and studies, of its own."""

from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from fastapi import FastAPI
from httpx import Client
from sqlalchemy import Connection

from api.main import create_app
from hpo.settings import Settings
from hpo.storage.keys import Scope, add_key, ensure_project
from ladder.stack_postgres import Postgres
from ladder.stack_redis import Redis
from tests.conftest import TEMPLATE
from tests.integration.api.caller import Api, Hand
from tests.integration.api.server import serve

DATABASE = "api"
_projects = count(1)


@pytest.fixture(scope="session")
def settings(postgres: Postgres, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    postgres.create_database(DATABASE, template=TEMPLATE)
    return Settings(
        database_url=postgres.url(DATABASE),
        redis_url=redis_server.url,
        checkpoint_root=Path(tmp_path_factory.mktemp("checkpoints")),
        key_cache_s=0,
        max_body_bytes=1 << 20,
        statement_timeout_s=2,
        requests_per_s=1e6,  # what tests the limits has an application of its own
        failed_keys_per_min=1e6,
    )


@pytest.fixture(scope="session")
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture(scope="session")
def client(app: FastAPI) -> Iterator[Client]:
    with serve(app) as url, Client(base_url=url, timeout=10) as client:
        yield client


@pytest.fixture(scope="session")
def hand(settings: Settings) -> Iterator[Hand]:
    with closing(Hand(settings)) as hand:
        yield hand


@pytest.fixture
def api(client: Client, hand: Hand) -> Api:
    """A project with one key a scope."""
    name = f"project-{next(_projects)}"

    scopes: tuple[Scope, ...] = ("admin", "write", "read", "worker")

    def keys(tx: Connection) -> dict[str, str]:
        return {scope: add_key(tx, ensure_project(tx, name), scope=scope, name="test") for scope in scopes}

    project = hand.db.write(lambda tx: ensure_project(tx, name))
    return Api(client, hand, project, hand.db.write(keys))


@pytest.fixture
def other(client: Client, hand: Hand) -> Api:
    """Another project, which must see nothing of the first."""
    name = f"project-{next(_projects)}"
    project = hand.db.write(lambda tx: ensure_project(tx, name))
    token = hand.db.write(lambda tx: add_key(tx, project, scope="admin", name="test"))
    return Api(client, hand, project, dict.fromkeys(("admin", "write", "read", "worker"), token))
