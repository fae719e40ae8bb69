"""The server itself over HTTP: how it is, and what a study can be made of."""

from typing import Any
from urllib.parse import quote

from api.schemas.registry import EntryList, EntryRead, TrainerList, TrainerRead
from ladder.calls import Calls
from ladder.http import API

Json = dict[str, Any]


class Server(Calls):
    """The API's health, version, metrics and document, and what each problem code means."""

    def health(self) -> Json:
        """Whether the API process lives."""
        return self._json("/healthz")

    def ready(self) -> Json:
        """Whether it reaches Postgres and Redis and the migrations are current. Raises Unreachable if not."""
        return self._json("/readyz")

    def version(self) -> Json:
        return self._json("/version")

    def metrics(self) -> str:
        """Counters and histograms in Prometheus' text format."""
        return self._http.request("GET", "/metrics").content.decode()

    def problem(self, code: str) -> Json:
        """What an error code means and what to do. Raises NotFoundError for one that does not exist."""
        return self._json(f"/problems/{quote(code, safe='')}")

    def openapi(self) -> Json:
        """The API's document."""
        return self._json(f"{API}/openapi.json")

    def _json(self, path: str) -> Json:
        found: Json = self._http.request("GET", path).json()
        return found


class Registry(Calls):
    """What a study can be made of, with the JSON Schema of each part's settings."""

    def trainers(self) -> list[TrainerRead]:
        return self._get(f"{API}/trainers", TrainerList).items

    def samplers(self) -> list[EntryRead]:
        return self._get(f"{API}/samplers", EntryList).items

    def schedulers(self) -> list[EntryRead]:
        return self._get(f"{API}/schedulers", EntryList).items

    def rules(self) -> list[EntryRead]:
        """Stopping rules, which may stand in a study's ``pruners``."""
        return self._get(f"{API}/rules", EntryList).items
