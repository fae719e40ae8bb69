"""What a verb leaves to do after its commit: whom to ring."""

from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """``advance``: the study that control should look at. ``queues``: worker queues with new work, a bell per trial."""

    value: T
    advance: UUID | None = None
    queues: tuple[str, ...] = ()
