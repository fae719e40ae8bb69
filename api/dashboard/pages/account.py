"""Login, logout and settings."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from api.dashboard import cookie
from api.dashboard.render import inside, page, url
from api.dashboard.session import Viewing, form_of
from api.deps import Parts, may, verified
from hpo.domain.errors import Unauthorized
from hpo.storage import keys

router = APIRouter(include_in_schema=False)


@router.get("/login")
def show_login(request: Request, parts: Parts, next: Annotated[str, Query(max_length=2000)] = "/") -> Response:
    return page(request, "login.html", None, next=inside(next, "/"), error=None, hours=parts.settings.session_h)


@router.post("/login")
async def log_in(request: Request, parts: Parts) -> Response:
    """Keep the key that was pasted; one that is wrong is told so on the same page."""
    fields = await form_of(request)
    token, where = str(fields.get("token", "")).strip(), inside(str(fields.get("next", "/")), "/")
    try:
        caller = await verified(request, token)
        error = None if may(caller, "read") else f"this key has the scope {caller.scope}: the dashboard needs read"
    except Unauthorized as refused:
        error = refused.detail
    if error is not None:
        shown = page(request, "login.html", None, status=401, next=where, error=error, hours=parts.settings.session_h)
        return shown
    response = RedirectResponse(f"{request.scope.get('root_path', '')}{where}", 303)
    cookie.start(request, response, token, hours=parts.settings.session_h)
    return response


@router.post("/logout")
async def log_out(request: Request) -> Response:
    """No proof is asked for: that another site can log a user out does no harm."""
    response = RedirectResponse(url(request, "/login"), 303)
    cookie.end(request, response)
    return response


@router.get("/settings")
def settings(request: Request, parts: Parts, who: Viewing) -> Response:
    listed = parts.db.read(lambda tx: keys.listed(tx, who.caller.project)) if may(who.caller, "admin") else []
    return page(request, "settings.html", who, keys=listed, settings=parts.settings, live_s=parts.live_s)
