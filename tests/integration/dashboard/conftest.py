"""The dashboard as a browser without JavaScript sees it; the API's fixtures on a database of its own."""

import hashlib
import hmac
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from httpx import Client, Response

from api.dashboard.cookie import COOKIE
from hpo.settings import Settings
from ladder.stack_postgres import Postgres
from ladder.stack_redis import Redis
from tests.conftest import TEMPLATE
from tests.integration.api.caller import Api
from tests.integration.api.conftest import api, app, client, hand, other

__all__ = ["api", "app", "client", "hand", "other"]


@pytest.fixture(scope="session")
def settings(postgres: Postgres, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    postgres.create_database("dashboard", template=TEMPLATE)
    return Settings(
        database_url=postgres.url("dashboard"),
        redis_url=redis_server.url,
        checkpoint_root=Path(tmp_path_factory.mktemp("checkpoints")),
        key_cache_s=0,
        requests_per_s=10_000,
        statement_timeout_s=5,
    )


@dataclass(frozen=True)
class Pages:
    """A browser that is logged in with one key: it sends the cookie, and with a form the page's token."""

    client: Client
    token: str

    @property
    def _cookie(self) -> str:
        return f"9999999999.{self.token}"

    def ask(self, path: str) -> Response:
        return self.client.get(path, headers={"Accept": "text/html", "Cookie": f"{COOKIE}={self._cookie}"})

    def get(self, path: str, status: int = 200) -> str:
        """The page's HTML."""
        answer = self.ask(path)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"].startswith(("text/html", "application/yaml"))
        return answer.text

    def text(self, path: str) -> str:
        """What a reader sees: tags out, white space as one blank."""
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", self.get(path)))

    def send(self, path: str, **fields: Any) -> Response:
        """Post a form of this login."""
        csrf = hmac.new(self._cookie.encode(), b"ladder csrf", hashlib.sha256).hexdigest()
        headers = {"Accept": "text/html", "Cookie": f"{COOKIE}={self._cookie}"}
        return self.client.post(path, data={"csrf": csrf, **fields}, headers=headers, follow_redirects=False)


@pytest.fixture
def pages(api: Api) -> Pages:
    """Logged in to the test's project as its administrator."""
    return Pages(api.client, api.tokens["admin"])


@pytest.fixture
def reader(api: Api) -> Pages:
    """Logged in to the same project with a key that only reads."""
    return Pages(api.client, api.tokens["read"])
