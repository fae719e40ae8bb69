"""What happens to every request before and after its route. Plain ASGI: a hop that costs microseconds."""

import hashlib
import re
import time
import uuid

from prometheus_client import Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,100}")
_API = "/api/v1/"

REQUESTS = Histogram(
    "ladder_http_request_seconds", "Time to answer", ["route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)  # fmt: skip


class Envelope:
    """Gives every request an id, echoes it, and measures the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex.encode()
        scope.setdefault("state", {})["request_id"] = request_id.decode()
        started, status = time.perf_counter(), 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            REQUESTS.labels(route, str(status)).observe(time.perf_counter() - started)


class Prefix:
    """Serves under the URL prefix of a proxy, whether the proxy strips it or not.

    ASGI wants the prefix in ``path`` and in ``root_path``; routes of the API name their Location without it.
    """

    def __init__(self, app: ASGIApp, *, root_path: str) -> None:
        self._app, self._root = app, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._root:
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if path != self._root and not path.startswith(f"{self._root}/"):
            raw = scope.get("raw_path")
            path = self._root + path
            scope = {**scope, "raw_path": None if raw is None else self._root.encode() + raw}

        async def send_with_prefix(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message["headers"]))
                if headers.get("location", "").startswith(_API):
                    headers["location"] = self._root + headers["location"]
                    message["headers"] = headers.raw
            await send(message)

        await self._app({**scope, "path": path, "root_path": self._root}, receive, send_with_prefix)


class Revalidation:
    """A weak ETag on what the API answers to a GET with JSON, unless the route gives one; 304 to who has it already.

    The ETag of a study keeps its revision before the dash, which If-Match goes by; the rest tells of what changes
    without a new revision, such as counts.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or _API not in scope["path"]:
            await self._app(scope, receive, send)
            return
        start: Message | None = None

        async def send_tagged(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_json(message):
                start = message  # until the body is there
                return
            if start is not None:
                held, start = start, None
                if message["type"] == "http.response.body" and not message.get("more_body", False):
                    held, message = _tagged(Headers(scope=scope), held, message)
                await send(held)
            await send(message)

        await self._app(scope, receive, send_tagged)


def _is_json(start: Message) -> bool:
    kinds = [value for name, value in start["headers"] if name == b"content-type"]
    return start["status"] == 200 and kinds == [b"application/json"]


def _tagged(asked: Headers, start: Message, body: Message) -> tuple[Message, Message]:
    headers = MutableHeaders(raw=list(start["headers"]))
    digest = hashlib.sha256(body.get("body", b"")).hexdigest()[:16]
    given = headers.get("etag", "")
    revision = given.strip('"')
    etag = given if given and not revision.isdecimal() else f'W/"{revision}-{digest}"' if given else f'W/"{digest}"'
    headers["etag"] = etag
    # Ask again every time, and for oneself: what is answered depends on the key.
    headers.setdefault("cache-control", "private, no-cache")
    if not _has(asked.getlist("if-none-match"), etag):
        return {**start, "headers": headers.raw}, body
    for name in ("content-length", "content-type"):
        del headers[name]
    return {**start, "status": 304, "headers": headers.raw}, {**body, "body": b""}


def _has(given: list[str], etag: str) -> bool:
    """Whether one of the tags of If-None-Match is ours; weakly compared, as RFC 9110 13.1.2 wants it."""
    tags = [tag.strip().removeprefix("W/") for value in given for tag in value.split(",")]
    return "*" in tags or etag.removeprefix("W/") in tags
