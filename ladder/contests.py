"""Contests over HTTP: ``client.contests`` with one method per route, and watching one until it ends."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from api.schemas.contests import ContestHead, ContestPage, ContestRead, ContestResult
from hpo.spec.contest import ContestSpec
from ladder.http import API, Http, Params

Answer = TypeVar("Answer", bound=BaseModel)
ContestHeads = list[ContestHead]
POLL_S = 1.0


class Contests:
    """Contests of methods; ``contest`` is an id or a name."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def create(self, spec: ContestSpec | Mapping[str, Any]) -> ContestRead:
        """Create a contest with all its studies, which start at once."""
        # A mapping goes as it is: the server checks it and names the field at fault by its pointer.
        body = spec.model_dump_json(exclude_unset=True) if isinstance(spec, ContestSpec) else json.dumps(spec)
        return ContestRead.model_validate_json(self._http.post(f"{API}/contests", body).content)

    def get(self, contest: str) -> ContestRead:
        """The contest with its studies and its result so far."""
        return self._get(_path(contest), ContestRead)

    def result(self, contest: str, *, params: bool = False) -> ContestResult:
        """The table: a row per method, by mean rank; of an unfinished contest, the table so far.

        With ``params`` also the best configuration of each method.
        """
        return self._get(f"{_path(contest)}/result", ContestResult, {"params": "true"} if params else None)

    def csv(self, contest: str, *, params: bool = False) -> str:
        return self._text(contest, "csv", params)

    def markdown(self, contest: str, *, params: bool = False) -> str:
        return self._text(contest, "md", params)

    def watch(self, contest: str) -> Iterator[ContestRead]:
        """The contest now and after each change, the last one when all its studies have ended."""
        last: ContestRead | None = None
        while True:
            now = self.get(contest)
            if last is None or _facts(now) != _facts(last):
                yield now
            if now.state != "running":
                return
            last = now
            time.sleep(POLL_S)

    def list(self) -> ContestHeads:
        """All contests, newest first, through all pages."""
        found: ContestHeads = []
        token: str | None = None
        while True:
            asked: Params = {"page_size": 500, **({"page_token": token} if token else {})}
            page = self._get(f"{API}/contests", ContestPage, asked)
            found += page.items
            token = page.next_page_token
            if token is None:
                return found

    def _get(self, path: str, answer: type[Answer], params: Params | None = None) -> Answer:
        return answer.model_validate_json(self._http.request("GET", path, params=params).content)

    def _text(self, contest: str, kind: str, params: bool) -> str:
        asked: Params = {"format": kind, **({"params": "true"} if params else {})}
        answer = self._http.request("GET", f"{_path(contest)}/result", params=asked)
        return answer.content.decode()


def _path(contest: str) -> str:
    return f"{API}/contests/{quote(contest, safe='')}"


def _facts(contest: ContestRead) -> tuple[object, ...]:
    """All that moves but the clock."""
    return contest.state, contest.complete, contest.studies
