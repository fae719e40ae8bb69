"""The API over real HTTP, with a database of its own: its rows are counted, and its limits do not get in the way."""

from pathlib import Path

import pytest

from hpo.settings import Settings
from ladder.stack_postgres import Postgres
from ladder.stack_redis import Redis
from tests.conftest import TEMPLATE
from tests.integration.api.conftest import api, app, client, hand, other  # noqa: F401 (fixtures)


@pytest.fixture(scope="session")
def settings(postgres: Postgres, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    postgres.create_database("contract", template=TEMPLATE)
    return Settings(
        database_url=postgres.url("contract"),
        redis_url=redis_server.url,
        checkpoint_root=Path(tmp_path_factory.mktemp("checkpoints")),
        key_cache_s=30,
        requests_per_s=1e6,
        failed_keys_per_min=1e6,
        max_body_bytes=1 << 20,
        statement_timeout_s=5,
    )
