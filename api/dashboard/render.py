"""From data to pages: the templates, what they may call, and the headers that every page carries."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from api.dashboard.assets import digest
from api.dashboard.cookie import csrf
from api.dashboard.session import Viewer

HERE = Path(__file__).parent
HEADERS = {
    # Inline styles alone are allowed: plotly writes them. Nothing comes from another host.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
FLASH = "ladder_flash"
NONE = "–"


def number(value: float | int | None, digits: int = 4) -> str:
    """A value as a table shows it: four significant digits, and what is not finite by its name."""
    if value is None:
        return NONE
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e6):
        return f"{int(value):,}"
    return f"{value:.{digits}g}"


def size(count: float | None) -> str:
    """Bytes in the unit that leaves up to four digits."""
    if count is None:
        return NONE
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def duration(seconds: float | None) -> str:
    """Such as 0.4 s, 12 s, 3 m 20 s, 2 h 5 m, 3 d 4 h."""
    if seconds is None:
        return NONE
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = int(seconds)
    for unit, big, small, part in (("m", 60, 1, "s"), ("h", 3600, 60, "m"), ("d", 86400, 3600, "h")):
        if whole < big * (60 if unit == "m" else 24) or unit == "d":
            return f"{whole // big} {unit} {whole % big // small} {part}"
    raise AssertionError("days have no end")


def when(instant: datetime | None) -> Markup:
    """How long ago it was, the instant itself as a tooltip; the page keeps it true."""
    if instant is None:
        return Markup(NONE)
    ago = duration(max(0.0, (datetime.now(UTC) - instant).total_seconds()))
    exact = instant.astimezone(UTC)
    return Markup('<time datetime="{}" title="{} UTC">{} ago</time>').format(
        exact.isoformat(timespec="milliseconds"), exact.strftime("%Y-%m-%d %H:%M:%S"), ago
    )


def in_attribute(value: Any) -> str:
    """JSON for a data attribute."""
    return json.dumps(value, allow_nan=False, default=str)


_ENV = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENV.filters |= {"number": number, "size": size, "duration": duration, "when": when, "attr": in_attribute}
_ENV.globals["release"] = version("ladder-hpo")


def url(request: Request, path: str, **query: Any) -> str:
    """A path of this server with the prefix that it is served under; what is None in ``query`` is left out."""
    asked = {name: value for name, value in query.items() if value not in (None, "", [])}
    text = f"{request.scope.get('root_path', '')}{quote(path)}"
    return f"{text}?{urlencode(asked, doseq=True)}" if asked else text


def here(request: Request, **changes: Any) -> str:
    """This page's address with some query parameters changed; None or "" takes one out."""
    asked: dict[str, Any] = {name: request.query_params.getlist(name) for name in request.query_params}
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    return url(request, path, **(asked | changes))


def inside(path: str, otherwise: str) -> str:
    """A path that a browser asked to be sent to, unless that is no path of this server."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() else otherwise


def page(request: Request, template: str, viewer: Viewer | None, *, status: int = 200, **context: Any) -> HTMLResponse:
    """A whole page. ``viewer`` is None on those that need no login."""
    flash = request.cookies.get(FLASH) if viewer is not None else None
    values: Mapping[str, Any] = {
        "base": request.scope.get("root_path", ""),
        "url": lambda path, **query: url(request, path, **query),
        "here": lambda **changes: here(request, **changes),
        "static": lambda name: f"{url(request, f'/static/{name}')}?v={digest(name)}",
        "path": request.url.path.removeprefix(request.scope.get("root_path", "")),
        "query": request.query_params,
        "csrf": csrf(request),
        "viewer": viewer,
        "may_write": viewer is not None and viewer.may_write,
        "flash": read_flash(flash),
        **context,
    }
    response = HTMLResponse(_ENV.get_template(template).render(values), status, HEADERS)
    if flash:
        response.delete_cookie(FLASH, path=f"{request.scope.get('root_path', '')}/")
    return response


def read_flash(value: str | None) -> dict[str, Any] | None:
    """What the page before left to say: {"text", "undo": {"action", "label"} | None}."""
    if not value:
        return None
    try:
        found = json.loads(bytes.fromhex(value))
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("text"), str) else None
