"""The login of a browser: an API key in a cookie that scripts cannot read, for some hours."""

import hashlib
import hmac
import time

from fastapi import Request, Response

COOKIE = "ladder_session"


def start(request: Request, response: Response, token: str, *, hours: float) -> None:
    """Log the browser in with an API key for at most ``hours``."""
    age_s = int(hours * 3600)
    value = f"{int(time.time()) + age_s}.{token}"
    response.set_cookie(
        COOKIE, value, max_age=age_s, path=home(request), httponly=True, secure=_secure(request), samesite="lax"
    )


def end(request: Request, response: Response) -> None:
    response.delete_cookie(COOKIE, path=home(request))


def home(request: Request) -> str:
    """The path of the dashboard, with the prefix that a proxy serves it under."""
    return f"{request.scope.get('root_path', '')}/"


def _secure(request: Request) -> bool:
    return request.headers.get("x-forwarded-proto", request.url.scheme) == "https"


def token_of(request: Request) -> str | None:
    """The API key of a browser that is logged in; None without one, or once the login has run out."""
    until, _, token = request.cookies.get(COOKIE, "").partition(".")
    if not (until.isdecimal() and until.isascii() and len(until) < 12 and token):
        return None
    return token if int(until) > time.time() else None


def csrf(request: Request) -> str:
    """What every form of this login's pages carries."""
    return hmac.new(request.cookies.get(COOKIE, "").encode(), b"ladder csrf", hashlib.sha256).hexdigest()
