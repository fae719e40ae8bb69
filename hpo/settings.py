"""What the operator sets: one frozen class, read from ``LADDER_*`` variables, built only where a process starts."""

import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from hpo.spec.study import EXTERNAL, TRAINER_NAME
from models.catalog import TRAINERS

_OWN_PATHS = frozenset(
    {"api", "compare", "docs", "healthz", "login", "logout", "metrics", "problems", "queues", "readyz", "settings"}
    | {"static", "studies", "version", "workers"}
)


class Settings(BaseSettings):
    """Durations in seconds, sizes in bytes. Each process uses the part it needs; a worker is given no database."""

    model_config = SettingsConfigDict(env_prefix="LADDER_", frozen=True, extra="ignore")

    # where things are
    database_url: SecretStr | None = Field(None, description="postgresql+psycopg2://… ; api and control only")
    redis_url: SecretStr = Field(SecretStr("redis://127.0.0.1:6379/0"), description="the broker of the doorbells")
    url: str = Field("http://127.0.0.1:8000", description="where clients and workers find the API")
    token: SecretStr | None = Field(None, description="API key of this client or worker")
    checkpoint_root: Path = Field(Path("~/.ladder/checkpoints"), description="the checkpoint store's directory")
    data_root: Path = Field(Path("~/.ladder/data"), description="where data sets lie on a worker")
    cache_root: Path = Field(Path("~/.ladder/cache"), description="where a worker keeps decoded images between trials")
    trainers: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="installed trainers that may be used, separated by commas; API and workers"
    )

    # the API
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    root_path: str = Field("", pattern=r"^(/[A-Za-z0-9._~-]+)*$", description="URL prefix that a proxy serves it under")
    session_h: float = Field(12.0, gt=0, le=12, description="how long a login to the dashboard lasts")
    requests_per_s: float = Field(100.0, gt=0, description="of one key, but for those that train")
    failed_keys_per_min: float = Field(60.0, gt=0, description="of one client's address: keys that are not valid")
    max_artifact_bytes: int = Field(8 << 30, ge=1024, description="of a checkpoint that is put over HTTP")
    max_body_bytes: int = Field(1 << 20, ge=1024)
    db_pool_size: int = Field(16, ge=1)
    statement_timeout_s: float = Field(5.0, gt=0)
    key_cache_s: float = Field(10.0, ge=0, le=30, description="how long a revoked API key may still work")

    # leases
    lease_ttl_s: float = Field(60.0, gt=0)
    heartbeat_s: float = Field(10.0, gt=0)
    retry_backoff_s: float = Field(5.0, ge=0, description="first wait after a lost lease; doubles up to 300 s")

    # control
    sweep_s: float = Field(5.0, gt=0)
    ring_again_s: float = Field(30.0, gt=0, description="a queued trial is rung for again after this long")
    checkpoint_gc_age_s: float = Field(3600.0, ge=0)

    # workers
    queue: str = Field("cpu", pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    worker_name: str | None = None
    slots: int = Field(1, ge=1)
    threads: int | None = Field(None, ge=1, description="CPU threads of a trainer; None: the cores shared by the slots")
    standby: bool = Field(
        True, description="keep a second trainer imported, for when the first ends; half a gigabyte of memory a slot"
    )
    drain_s: float = Field(60.0, gt=0, description="time a stopping worker has to checkpoint and hand back")
    max_idle_s: float | None = Field(None, gt=0, description="a worker without a trial for this long ends; None: never")
    request_timeout_s: float = Field(10.0, gt=0)
    isolation_s: float = Field(300.0, gt=0, description="without the API for this long a worker gives up its trial")

    @field_validator("root_path")
    @classmethod
    def _apart(cls, path: str) -> str:
        first = path.split("/")[1] if path else ""
        if first in _OWN_PATHS:
            # Whether a proxy has stripped the prefix could not be told from the path.
            raise ValueError(f"want a prefix that does not begin with a path of the server's own, got {path!r}")
        return path

    @field_validator("trainers", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        return tuple(filter(None, map(str.strip, given.split(",")))) if isinstance(given, str) else given

    @field_validator("trainers")
    @classmethod
    def _named(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not re.fullmatch(TRAINER_NAME, name):
                raise ValueError(f"want names of trainers separated by commas, each {TRAINER_NAME}; got {name!r}")
            if name in TRAINERS or name == EXTERNAL:
                raise ValueError(f"{name!r} comes with Ladder and is always allowed: leave it out")
        return names

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.heartbeat_s * 3 > self.lease_ttl_s:
            raise ValueError(
                f"heartbeat_s must be at most a third of lease_ttl_s, got {self.heartbeat_s} and {self.lease_ttl_s}"
            )
        return self
