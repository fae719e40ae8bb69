"""What a checkpoint store promises: bytes under ids, whole or not there at all. No torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from uuid import UUID

from hpo.domain.errors import Unavailable

MAX_MANIFEST_BYTES = 1 << 20


class StoreUnwritable(Unavailable):
    """The store has no room left or its medium fails: nothing was stored, nothing half-written is left."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that is safely in the store."""

    path: Path
    step: int
    sha256: str
    size_bytes: int


def file_name(step: int) -> str:
    """The name of a step's checkpoint in the directory of its lease."""
    return f"step-{step}.safetensors"


class CheckpointStore(Protocol):
    """Checkpoints by (study, trial number, lease, step): two attempts of a trial can never write the same file."""

    def put(self, study: UUID, number: int, lease: UUID, *, step: int, stream: BinaryIO) -> StoredFile:
        """Store the rest of ``stream``; raises StoreUnwritable and then leaves nothing behind."""

    def open(self, study: UUID, number: int, lease: UUID, *, step: int) -> BinaryIO:
        """The checkpoint's bytes; raises NotFound."""

    def manifest(self, study: UUID, number: int, lease: UUID, *, step: int) -> bytes:
        """What its writer put beside the checkpoint: JSON, at most MAX_MANIFEST_BYTES. Raises NotFound."""

    def delete(self, study: UUID, number: int, lease: UUID, *, step: int) -> None:
        """Remove the checkpoint if it is there."""

    def delete_trial(self, study: UUID, number: int) -> None:
        """Remove all that a trial has in the store, reported or not."""
