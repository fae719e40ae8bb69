"""Calls of the API as a user, a worker and an external trainer make them, and what control does between them."""

import json
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from httpx import Client, Response

from hpo.lifecycle import advance
from hpo.lifecycle.advance import Progress
from hpo.lifecycle.definitions import Definitions
from hpo.settings import Settings
from hpo.storage.db import Db, make_engine
from hpo.storage.replay import HistoryCache

V1 = "/api/v1"
Json = dict[str, Any]


def spec(name: str = "s", **changes: Any) -> Json:
    """A study of an external trainer with one parameter, trained for one epoch unless said otherwise."""
    return {
        "name": name,
        "objectives": [{"metric": "loss", "direction": "minimize"}],
        "search_space": [{"type": "float", "name": "x", "low": 0, "high": 1}],
        "sampler": {"type": "random", "seed": 1},
        "scheduler": {"type": "fifo", "max_resource": 3},
        "trainer": {"name": "external"},
        "budget": {"max_trials": 4},
        **changes,
    }


class Hand:
    """Control's part, done when a test asks for it: no test waits for a broker."""

    def __init__(self, settings: Settings) -> None:
        self.db = Db(make_engine(settings, pool_size=2))

    def advance(self, study: UUID) -> None:
        definitions, history = Definitions(), HistoryCache()
        while (todo := self.db.write(lambda tx: advance.look(tx, definitions, study, live_s=30))) is not None:
            if isinstance(todo, Progress):
                continue
            room = todo
            self.db.read(partial(history.sync, study=study, cursor=room.cursor))
            fresh = advance.propose(room, history, room.count)
            self.db.write(partial(advance.add_trials, study=study, room=room, params=fresh, live_s=1.0))

    def scalar(self, statement: str, **params: Any) -> Any:
        return self.db.read(lambda tx: tx.exec_driver_sql(statement, params).scalar())

    def execute(self, statement: str, **params: Any) -> None:
        self.db.write(lambda tx: tx.exec_driver_sql(statement, params))

    def close(self) -> None:
        self.db.engine.dispose()


@dataclass(frozen=True)
class Api:
    """One project's users: ``get`` and ``post`` call with the key of a scope."""

    client: Client
    hand: Hand
    project: UUID
    tokens: dict[str, str]

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        scope: str = "admin",
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
        **options: Any,
    ) -> Response:
        """Send a request; ``body`` goes as JSON, ``raw`` as it is, both as application/json unless said otherwise."""
        content = raw if raw is not None else None if body is None else json.dumps(body).encode()
        sent = {"Authorization": f"Bearer {self.tokens[scope]}"}
        if content is not None:
            sent["Content-Type"] = "application/json"
        url = V1 + path if path.startswith(("/studies", "/workers", "/contests")) else path
        return self.client.request(method, url, content=content, headers=sent | (headers or {}), **options)

    def get(self, path: str, **options: Any) -> Response:
        return self.call("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Response:
        return self.call("POST", path, body, **options)

    def create(self, name: str = "s", *, advance: bool = True, **changes: Any) -> Json:
        """A stored study with its first trials queued."""
        answer = self.post("/studies", spec(name, **changes))
        assert answer.status_code == 201, answer.text
        created: Json = answer.json()
        if advance:
            self.hand.advance(UUID(created["id"]))
        return created

    def advance(self, study: Json) -> None:
        self.hand.advance(UUID(study["id"]))

    def ask(self, study: str = "s", *, count: int = 1, worker: str = "w") -> list[Json]:
        """Leased trials; control makes as many as are asked for."""
        trials: list[Json] = []
        while len(trials) < count:
            answer = self.post(f"/studies/{study}/ask", {"worker": worker, "count": count - len(trials)})
            assert answer.status_code == 200, answer.text
            trials += answer.json()["trials"]
            if len(trials) < count:
                made = self.hand.scalar("SELECT next_number FROM study WHERE name = %(n)s AND project_id = %(p)s",
                                        n=study, p=self.project)  # fmt: skip
                self.advance(self.get(f"/studies/{study}").json())
                assert self.hand.scalar(
                    "SELECT queued FROM study WHERE name = %(n)s AND project_id = %(p)s", n=study, p=self.project
                ), f"control made no trial past {made}"
        return trials

    def report(self, trial: Json, step: int, loss: Any = 0.5, **changes: Any) -> Response:
        body = {"lease": trial["lease"]["token"], "step": step, "metrics": {"loss": loss}, **changes}
        return self.post(f"/studies/{trial['study']}/trials/{trial['number']}/report", body, scope="worker")

    def tell(self, trial: Json, **body: Any) -> Response:
        body = {"lease": trial["lease"]["token"], "state": "complete", **body}
        return self.post(f"/studies/{trial['study']}/trials/{trial['number']}/tell", body, scope="worker")

    def claim(self, **changes: Any) -> Response:
        body = {"worker": "w", "queue": "cpu", "claim_id": str(uuid4()), **changes}
        return self.call("POST", f"{V1}/claim", body, scope="worker")

    def stored(self) -> int:
        """How many studies this project has."""
        return int(self.hand.scalar("SELECT count(*) FROM study WHERE project_id = %(p)s", p=self.project))


def problem(answer: Response, status: int, code: str) -> Json:
    """The body of an error, which is a problem of RFC 9457 with the request's id."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: Json = answer.json()
    assert (body["status"], body["code"], body["type"]) == (status, code, f"/problems/{code}")
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["title"]
    assert "Traceback" not in answer.text
    return body


def refused(answer: Response, pointer: str, code: str | None = None) -> str:
    """The message of the one error that a 422 names."""
    errors = problem(answer, 422, "validation_failed")["errors"]
    assert [error["pointer"] for error in errors] == [pointer], errors
    if code is not None:
        assert errors[0]["code"] == code, errors
    return str(errors[0]["message"])
