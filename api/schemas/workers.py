"""Workers as the API shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StrictInt

from api.schemas.base import In, Out, Page
from hpo.spec.base import QueueName, Text

Short = Annotated[Text, Field(max_length=200)]


class WorkerIn(In):
    """PUT by a worker when it starts and every heartbeat after."""

    queue: QueueName
    protocol_version: StrictInt
    host: Short = ""
    device: Short = "cpu"
    pid: Annotated[StrictInt, Field(ge=0, le=2**31 - 1)] = 0
    versions: Annotated[dict[Short, Short], Field(max_length=20)] = Field(default_factory=dict)


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


class WorkerPage(Page):
    items: list[WorkerRead]
