"""Alive, ready, and what an outage of Postgres or Redis looks like from outside."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from httpx import Client

from api.main import create_app
from hpo.settings import Settings
from ladder.stack_postgres import Postgres
from ladder.stack_redis import Redis, new_password
from tests.integration.api.caller import Api, problem
from tests.integration.api.server import serve


def test_a_healthy_service_is_alive_and_ready(api: Api) -> None:
    assert api.get("/healthz").json() == {"status": "ok"}
    ready = api.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {"ready": True, "checks": {"postgres": "ok", "migrations": "ok", "redis": "ok"}}


def test_the_version_names_release_protocol_and_schema(api: Api) -> None:
    version = api.get("/version").json()
    assert version["protocol_version"] == 3
    assert version["schema"] == api.hand.scalar("SELECT version_num FROM alembic_version")
    assert version["version"]


def test_metrics_count_requests_by_route_and_not_by_path(api: Api) -> None:
    api.create("counted", advance=False)
    api.get("/studies/counted")
    text = api.get("/metrics").text
    line = 'ladder_http_request_seconds_count{route="/studies/{study}",status="200"}'
    assert line in text
    assert "counted" not in text


@pytest.fixture
def home(engines_home: Path, tmp_path: Path) -> Path:
    path = engines_home / tmp_path.name[:20]
    path.mkdir()
    return path


@pytest.fixture
def redis(home: Path) -> Iterator[Redis]:
    server = Redis(home, log=home / "redis.log", password=new_password())
    server.start()
    yield server
    server.stop()


def test_readyz_says_that_redis_is_gone_and_studies_are_created_all_the_same(
    api: Api, settings: Settings, redis: Redis, tmp_path: Path
) -> None:
    changed = settings.model_copy(update={"redis_url": Settings(redis_url=redis.url).redis_url})
    with serve(create_app(changed)) as url, Client(base_url=url, timeout=10) as client:
        assert client.get("/readyz").status_code == 200
        redis.stop()
        answer = client.get("/readyz")
        told = problem(answer, 503, "unavailable")
        assert answer.headers["retry-after"] == "1"
        checks = told["checks"]
        assert told["ready"] is False
        assert told["detail"] == f"redis: {checks['redis']}"
        assert (checks["postgres"], checks["migrations"]) == ("ok", "ok")
        assert checks["redis"] != "ok"
        password = urlsplit(redis.url).password
        assert password
        assert password not in answer.text
        there = Api(client, api.hand, api.project, api.tokens)
        assert there.create(advance=False)["state"] == "running"


def test_readyz_says_that_postgres_is_gone_and_calls_are_unavailable_until_it_is_back(
    api: Api, postgres: Postgres
) -> None:
    api.create(advance=False)
    postgres.stop()
    try:
        told = problem(api.get("/readyz"), 503, "unavailable")
        assert told["checks"]["redis"] == "ok"
        assert told["checks"]["postgres"].startswith("Postgres cannot be reached")
        refused = api.get("/studies/s")
        problem(refused, 503, "unavailable")
        assert refused.headers["retry-after"] == "1"
        problem(api.post("/studies/s/pause"), 503, "unavailable")
        assert api.get("/healthz").status_code == 200
    finally:
        postgres.start()
    assert api.get("/readyz").status_code == 200
    assert api.get("/studies/s").json()["state"] == "running"


def test_readyz_says_that_the_schema_is_not_this_releases(settings: Settings, postgres: Postgres) -> None:
    postgres.create_database("unmigrated")
    changed = settings.model_copy(
        update={"database_url": Settings(database_url=postgres.url("unmigrated")).database_url}
    )
    with serve(create_app(changed)) as url, Client(base_url=url, timeout=10) as client:
        answer = client.get("/readyz")
    postgres.drop_database("unmigrated")
    assert "ladder db upgrade" in problem(answer, 503, "unavailable")["checks"]["migrations"]
