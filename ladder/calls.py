"""What all groups of calls share: paths, typed answers and pages."""

from collections.abc import Iterator
from typing import TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from api.schemas.base import Page
from ladder.http import API, Http, Params

Answer = TypeVar("Answer", bound=BaseModel)
Paged = TypeVar("Paged", bound=Page)
PAGE = 500


class Calls:
    """A group of routes; each method is one of them."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def _get(self, path: str, answer: type[Answer], params: Params | None = None) -> Answer:
        return answer.model_validate_json(self._http.request("GET", path, params=params).content)

    def _post(self, path: str, answer: type[Answer], body: str | None = None) -> Answer:
        return answer.model_validate_json(self._http.post(path, body).content)

    def _pages(self, path: str, kind: type[Paged], params: Params | None = None) -> Iterator[Paged]:
        token: str | None = None
        params = {"page_size": PAGE, **(params or {})}
        while True:
            asked = {**params, **({"page_token": token} if token else {})}
            page = self._get(path, kind, asked)
            yield page
            token = page.next_page_token
            if token is None:
                return


def study_path(study: str) -> str:
    return f"{API}/studies/{quote(study, safe='')}"


def trial_path(study: str, number: int) -> str:
    return f"{study_path(study)}/trials/{number}"


def given(**params: str | int | list[str] | None) -> dict[str, str | int | list[str]]:
    """Query parameters without those that are None."""
    return {name: value for name, value in params.items() if value is not None}
