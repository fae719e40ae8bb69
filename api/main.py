"""The web process: its composition root and its start."""

import re
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
import uvicorn
from fastapi import FastAPI
from prometheus_client import Histogram
from pydantic import SecretStr
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors
from api.dashboard.app import ROUTERS as DASHBOARD
from api.deps import KeyCache, Services
from api.document import describe
from api.routes import (
    artifacts,
    contests,
    events,
    exports,
    health,
    importance,
    imports,
    leases,
    logs,
    records,
    registry,
    studies,
    study_verbs,
    trials,
    workers,
)
from hpo.checkpoints.filesystem import FilesystemStore
from hpo.doorbell import Doorbell
from hpo.lifecycle.definitions import Definitions
from hpo.lifecycle.turns import Turns
from hpo.logs import configure_logs
from hpo.settings import Settings
from hpo.storage.db import Db, make_engine

V1 = "/api/v1"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,100}")

REQUESTS = Histogram(
    "ladder_http_request_seconds", "Time to answer", ["route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)  # fmt: skip


class Envelope:
    """Gives every request an id, echoes it, and measures the answer. Plain ASGI: a hop that costs microseconds."""

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


def create_app(settings: Settings) -> FastAPI:
    """The application with all its parts. Connections are opened by the first request that needs one."""
    engine = make_engine(settings)
    db, definitions = Db(engine), Definitions()
    parts = Services(
        settings=settings,
        db=db,
        doorbell=Doorbell(settings.redis_url.get_secret_value()),
        store=FilesystemStore(settings.checkpoint_root.expanduser()),
        keys=KeyCache(settings.key_cache_s),
        definitions=definitions,
        turns=Turns(db, definitions),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        parts.doorbell.close()
        engine.dispose()

    app = FastAPI(
        title="Ladder",
        version="1",
        description="Hyperparameter search for convolutional networks.",
        openapi_url=f"{V1}/openapi.json",
        docs_url=None,  # its pages pull scripts from a CDN
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.services = parts
    app.add_middleware(Envelope)
    errors.install(app)
    v1 = (leases, imports, studies, study_verbs, trials, logs, records, artifacts, exports, importance, contests, events,
          workers, registry)  # fmt: skip
    for module in v1:
        app.include_router(module.router, prefix=V1)
    app.include_router(workers.queues, prefix=V1)
    app.include_router(health.router)
    for router in DASHBOARD:
        app.include_router(router)
    describe(app)
    return app


def openapi_document() -> dict[str, object]:
    """The API's description, made without reaching any database: what ``openapi.json`` in the repository holds."""
    return create_app(Settings(database_url=SecretStr("postgresql+psycopg2://"))).openapi()


def run_api(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    configure_logs()
    structlog.get_logger().info("api-starting", host=settings.host, port=settings.port)
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        log_config=None,
        timeout_graceful_shutdown=5,
        server_header=False,
    )
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else 1
