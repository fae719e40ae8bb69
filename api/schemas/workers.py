"""Workers as the API shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, StrictInt

from api.schemas.base import In, Out, Page
from hpo.spec.base import QueueName, Real, Text

Short = Annotated[Text, Field(max_length=200)]
Bytes = Annotated[StrictInt, Field(ge=0, le=2**62)]
Count = Annotated[StrictInt, Field(ge=0, le=2**53)]


class WorkerStats(Out):
    """What a worker measured of its device and itself with its last heartbeat; null where it cannot tell."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    util: Annotated[Real, Field(ge=0, le=1)] | None = Field(None, description="share of the device's time in use")
    memory_used_bytes: Bytes | None = None
    memory_total_bytes: Bytes | None = None
    temperature_c: Annotated[Real, Field(ge=-100, le=1000)] | None = None
    images_per_s: Annotated[Real, Field(ge=0)] | None = Field(None, description="of the newest epoch that told")
    done: Count | None = Field(None, description="attempts since its start that ended as they were to")
    failed: Count | None = Field(None, description="attempts since its start that failed")


class WorkerIn(In):
    """PUT by a worker when it starts and every heartbeat after."""

    queue: QueueName
    protocol_version: StrictInt
    host: Short = ""
    device: Short = "cpu"
    pid: Annotated[StrictInt, Field(ge=0, le=2**31 - 1)] = 0
    versions: Annotated[dict[Short, Short], Field(max_length=20)] = Field(default_factory=dict)
    instance: UUID | None = Field(
        None, description="drawn anew at every start: a worker that starts again under its name is not draining"
    )
    stats: WorkerStats = Field(default_factory=WorkerStats)


class WorkerRead(Out):
    name: str
    queue: str
    host: str
    device: str
    state: Literal["idle", "busy", "draining", "lost"]
    trial: str | None = Field(None, description="study/number that it trains")
    versions: dict[str, Any] = Field(default_factory=dict)
    started_at: datetime
    seen_at: datetime
    drain: bool = Field(False, description="it is asked to hand its trial back and exit")
    stats: WorkerStats = Field(default_factory=WorkerStats)


class WorkerPage(Page):
    items: list[WorkerRead]


class QueueRead(Out):
    """The workers of a queue, and the trials that they have and that wait for them."""

    name: str
    workers: int = Field(description="that are alive: idle, busy or draining")
    idle: int
    draining: int
    lost: int = Field(description="not seen for three heartbeats")
    running: int = Field(description="trials")
    waiting: int = Field(description="trials of running studies")
    oldest_wait_s: float | None = Field(None, description="how long the first of those that wait has waited")


class QueueList(Out):
    items: list[QueueRead]
