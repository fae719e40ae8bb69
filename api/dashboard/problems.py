"""Errors as pages, for whoever looks with a browser."""

from typing import Any

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from api.dashboard.render import here, page, url
from api.dashboard.session import from_here


def for_browser(request: Request) -> bool:
    """Whether a person reads the answer: the browser asks for HTML, and not of the API."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return "text/html" in request.headers.get("accept", "") and not path.startswith("/api/")


def problem_page(request: Request, problem: dict[str, Any], meaning: str, headers: dict[str, str]) -> Response:
    """A problem with its request id and a way on; whoever is not logged in comes to the login and back."""
    # Of a page that draws itself anew a script asks: it would take the login for the page.
    if problem["status"] == 401 and "hx-request" not in request.headers:
        path = request.url.path.removeprefix(request.scope.get("root_path", ""))
        back = f"{path}?{request.url.query}" if request.url.query else path
        wanted = back if request.method == "GET" and back != "/" else None
        return RedirectResponse(url(request, "/login", next=wanted), 303)
    again = here(request) if request.method == "GET" else None
    told = {"problem": problem, "meaning": meaning, "again": again, "before": _before(request)}
    shown = page(request, "problem.html", None, status=problem["status"], **told)
    shown.headers.update(headers)
    return shown


def _before(request: Request) -> str | None:
    """The page of this server that a link or form stood on, where the browser tells."""
    told = request.headers.get("referer", "")
    return told if from_here(request, told) else None
