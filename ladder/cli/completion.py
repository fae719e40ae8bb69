"""What the shell offers after Tab: names asked of the API, with little patience.

Nothing is offered where the API does not answer: a completion has nowhere to complain.
"""

from collections.abc import Callable, Iterable
from contextlib import closing

import typer

TIMEOUT_S = 1.0
MOST = 50  # names offered


def studies(incomplete: str) -> list[str]:
    """Names of studies that begin so."""
    return _asked("studies", incomplete, lambda item: str(item["name"]), name=incomplete)


def trials(context: typer.Context, incomplete: str) -> list[str]:
    """Numbers of the trials of the study that stands before, the newest first."""
    study = context.params.get("study")
    if not study:
        return []
    from urllib.parse import quote

    path = f"studies/{quote(str(study), safe='')}/trials"
    return _asked(path, incomplete, lambda item: str(item["number"]), order_by="-number")


def workers(incomplete: str) -> list[str]:
    return _asked("workers", incomplete, lambda item: str(item["name"]))


def study_states(incomplete: str) -> list[str]:
    from hpo.domain.study import StudyState

    return _begin_with(incomplete, map(str, StudyState))


def trial_states(incomplete: str) -> list[str]:
    from hpo.domain.trial import TrialState

    return _begin_with(incomplete, map(str, TrialState))


def entries(kind: str) -> Callable[[str], list[str]]:
    """Completes the names of trainers, samplers, schedulers or rules."""

    def names(incomplete: str) -> list[str]:
        return _asked(kind, incomplete, lambda item: str(item["name"]))

    return names


def _begin_with(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _asked(path: str, incomplete: str, told: "Callable[[dict[str, object]], str]", **params: str) -> list[str]:
    from ladder.errors import ApiError, LocalError
    from ladder.home import connection
    from ladder.http import API, Http

    try:
        with closing(Http(*connection(None, None), timeout_s=TIMEOUT_S, retries=0)) as http:
            given: dict[str, str | int | list[str]] = {"page_size": MOST, **params} if params else {}
            page = http.request("GET", f"{API}/{path}", params=given).json()
    except (ApiError, LocalError):
        return []
    return _begin_with(incomplete, map(told, page["items"]))
