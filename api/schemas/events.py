"""The data of the live streams' events; an entry of a study's own log is an ``EventRead``."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from api.schemas.base import Out
from api.schemas.studies import Counts


class StudyUpdated(Out):
    """A study as it is now; in between it may have changed more than once."""

    study: UUID
    name: str
    state: str = Field(description="of the study, or deleted")
    counts: Counts
    last_seq: int = Field(description="the newest event of its own log")


class WorkerUpdated(Out):
    name: str
    state: Literal["idle", "busy", "draining", "lost", "gone"] = Field(description="gone: it is no longer listed")
    trial: str | None = Field(description="study/number that it trains")


class Reset(Out):
    """What comes after the given id is not known (any more): read the state again; the stream goes on from now."""

    reason: Literal["beyond", "gone", "slow"] = Field(
        description="beyond: the id is past the log's end; gone: events after it are not kept; slow: too far behind"
    )
    last_seq: int | None = Field(None, description="of a study's log: where the stream goes on")
