"""What a verb leaves to do after its commit: whom to ring."""

from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """``advance``: the study that control should look at. ``queues``: worker queues with new work, a bell per trial.

    ``advance_all``: further studies to look at, where a verb touches several.
    """

    value: T
    advance: UUID | None = None
    queues: tuple[str, ...] = ()
    advance_all: tuple[UUID, ...] = ()
