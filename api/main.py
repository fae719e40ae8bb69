"""The web process: its composition root and its start."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
import uvicorn
from fastapi import Depends, FastAPI
from pydantic import SecretStr

from api import errors
from api.dashboard.app import ROUTERS as DASHBOARD
from api.deps import KeyCache, Services
from api.document import describe
from api.limits import BURST, Buckets
from api.live import Live
from api.middleware import Envelope, Prefix, Revalidation
from api.routes import (
    artifacts,
    contests,
    docs,
    events,
    exports,
    health,
    importance,
    imports,
    leases,
    logs,
    plots,
    records,
    registry,
    studies,
    study_verbs,
    trials,
    workers,
)
from api.strict_query import known_query
from hpo.checkpoints.filesystem import FilesystemStore
from hpo.doorbell import Doorbell
from hpo.lifecycle.definitions import Definitions
from hpo.lifecycle.turns import Turns
from hpo.logs import configure_logs
from hpo.settings import Settings
from hpo.storage.db import Db, make_engine

V1 = "/api/v1"


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
        requests=Buckets(settings.requests_per_s, BURST * settings.requests_per_s),
        failures=Buckets(settings.failed_keys_per_min / 60, settings.failed_keys_per_min),
        live=Live(db, live_s=3 * settings.heartbeat_s),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        parts.live.close()
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
    app.add_middleware(Revalidation)  # the last to be added is the first to see a request
    app.add_middleware(Prefix, root_path=settings.root_path)
    app.add_middleware(Envelope)
    errors.install(app)
    v1 = (leases, imports, studies, study_verbs, trials, logs, records, artifacts, exports, importance, plots, contests,
          events, workers, registry)  # fmt: skip
    strict = [Depends(known_query)]
    for router in (*(module.router for module in v1), workers.queues):
        app.include_router(router, prefix=V1, dependencies=strict)
    app.include_router(health.router)
    app.include_router(docs.router)
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
