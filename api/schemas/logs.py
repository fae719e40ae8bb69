"""What an attempt of a trial printed, line by line."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, StrictInt

from api.schemas.base import In, Out, Page
from hpo.spec.base import Text, refuse

MAX_LINES = 1_000  # in one request
MAX_LINE_BYTES = 4_096

Stream = Literal["out", "err", "ladder"]


def _short(text: str) -> str:
    size = len(text.encode())
    if size > MAX_LINE_BYTES:
        raise refuse("line_too_long", f"a line may have at most {MAX_LINE_BYTES} bytes, got {size}")
    return text


def _storable(at: datetime) -> datetime:
    if not 1970 <= at.year <= 9000:  # converted to UTC, a year at the end of the calendar would leave it
        raise refuse("out_of_range", f"want an instant of the years 1970 to 9000, got {at.year}")
    return at.astimezone(UTC)


class LogLineIn(In):
    position: Annotated[StrictInt, Field(ge=1, le=2**62)] = Field(
        description="counts the attempt's lines from 1; a gap tells of lines that were dropped"
    )
    at: Annotated[AwareDatetime, AfterValidator(_storable)]
    stream: Stream = Field(description="`ladder`: what the worker itself says of the trial")
    text: Annotated[Text, AfterValidator(_short), Field(max_length=MAX_LINE_BYTES)]


class LogsIn(In):
    """Lines of an attempt, under its lease: the live one, or that of an attempt that ended within the last hour."""

    lease: UUID
    lines: Annotated[list[LogLineIn], Field(min_length=1, max_length=MAX_LINES)]


class LogsOut(Out):
    """A repeated request stores nothing twice: lines are told apart by position."""

    attempt: int
    stored: int = Field(description="lines that were new")


class LogLineRead(Out):
    attempt: int
    position: int
    at: datetime
    stream: Stream
    text: str


class LogPage(Page):
    """Lines of one attempt, oldest first. To follow it, ask again with `after` = the last line's position."""

    items: list[LogLineRead]
    attempt: int | None = Field(description="whose lines these are; null while the trial was never begun")
    attempts: int = Field(description="the newest attempt: one that follows the trial goes on with the next")
    cut: int = Field(description="earlier lines of the attempt that are no longer kept")
    ended: bool = Field(description="whether the attempt has ended; its last lines come within a heartbeat")
