"""Scripts and styles, all served from here: ours, those kept in ``static/vendor``, and plotly.js from its wheel."""

import gzip
import hashlib
from functools import cache
from pathlib import Path

import plotly
from fastapi import APIRouter, Request, Response
from starlette.datastructures import Headers

from hpo.domain.errors import NotFound

router = APIRouter(include_in_schema=False)

STATIC = Path(__file__).parent / "static"
PLOTLY = "plotly.min.js"
# Addresses carry the content's digest, so that a browser need never ask again.
FOREVER = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".html": "text/html",
    ".txt": "text/plain",
}


@cache
def _files() -> dict[str, Path]:
    """All that is served, each by its one name: what is kept of a file is kept once."""
    ours = {path.relative_to(STATIC).as_posix(): path for path in STATIC.rglob("*") if path.suffix in TYPES}
    return {**ours, PLOTLY: Path(plotly.__file__).parent / "package_data" / PLOTLY}


def _file(name: str) -> Path:
    if name not in _files():
        raise NotFound(f"there is no file {name[:200]!r}")
    return _files()[name]


@cache
def digest(name: str) -> str:
    """The first digits of a static file's SHA-256."""
    return hashlib.sha256(_file(name).read_bytes()).hexdigest()[:12]


@cache
def _packed(name: str) -> bytes:
    return gzip.compress(_file(name).read_bytes(), 6)


@router.get("/static/{name:path}")
def static(name: str, request: Request) -> Response:
    """One file, packed where the browser takes it so."""
    path = _file(name)
    kind = TYPES[path.suffix]
    if "gzip" in Headers(scope=request.scope).get("accept-encoding", ""):
        return Response(_packed(name), headers={**FOREVER, "Content-Encoding": "gzip"}, media_type=kind)
    return Response(path.read_bytes(), headers=FOREVER, media_type=kind)
