"""Checkpoints: tensors as safetensors, all else as a JSON manifest beside them. Nothing is ever unpickled.

``step-9.safetensors`` has its manifest in ``step-9.safetensors.json``, with the SHA-256 of the bytes. Both are
written as temp file, fsync, rename, fsync of the directory, the manifest last: whatever the moment of a crash, what is
found under the two names is either whole or refused by ``load``.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, StrictInt, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from models.catalog import TRAINERS, parse_config
from models.files import write_whole
from models.job import InvalidConfig, SavedFile

FORMAT = 1


class CorruptCheckpoint(Exception):
    """A checkpoint that cannot be resumed from: missing, torn, altered, or of another trial. Names the path."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


class ImageShape(BaseModel):
    """What images the network takes, uint8 [channels, side, side], and how many classes it tells apart."""

    model_config = ConfigDict(frozen=True)

    channels: StrictInt
    side: StrictInt
    classes: StrictInt


class Identity(BaseModel):
    """Which training a checkpoint belongs to. ``split_sha256`` and what follows it is for trainers with images."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    trainer: str
    config: dict[str, Any]
    seed: StrictInt
    step: StrictInt
    split_sha256: str | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    image: ImageShape | None = None
    class_names: tuple[str, ...] = ()


class Manifest(BaseModel):
    """What stands beside the tensors. Every part of it that matters is under one of the two hashes."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    format: Literal[1]
    sha256: str
    size_bytes: StrictInt
    torch_version: str
    identity: Identity
    identity_sha256: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A verified checkpoint in memory."""

    path: Path
    manifest: Manifest
    tensors: Mapping[str, Tensor]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start with ``prefix.``, without it."""
        start = f"{prefix}."
        return {name.removeprefix(start): tensor for name, tensor in self.tensors.items() if name.startswith(start)}


def manifest_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def save(path: Path, identity: Identity, tensors: Mapping[str, Tensor]) -> SavedFile:
    """Write a checkpoint durably. Raises OSError (disk full, …) and then leaves no temp file behind."""
    content = safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    manifest = Manifest(
        format=FORMAT,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        torch_version=torch.__version__,
        identity=identity,
        identity_sha256=_sha256_of(identity),
    )
    write_whole(path, content)
    write_whole(manifest_path(path), manifest.model_dump_json(indent=1).encode())
    return SavedFile(path, identity.step, manifest.sha256, manifest.size_bytes)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint, its bytes checked against the manifest. Raises CorruptCheckpoint."""
    try:
        manifest = Manifest.model_validate_json(manifest_path(path).read_bytes())
        content = path.read_bytes()
    except OSError as error:
        raise CorruptCheckpoint(path, f"cannot be read: {error}") from error
    except ValidationError as error:
        raise CorruptCheckpoint(
            path, f"its manifest is not one of format {FORMAT}: {error.errors()[0]['msg']}"
        ) from error
    if _sha256_of(manifest.identity) != manifest.identity_sha256:
        raise CorruptCheckpoint(path, "its manifest has been altered: the identity does not have its SHA-256")
    if hashlib.sha256(content).hexdigest() != manifest.sha256:
        raise CorruptCheckpoint(
            path, f"its {len(content)} bytes do not have the SHA-256 {manifest.sha256} of its manifest"
        )
    try:
        tensors = safetensors.torch.load(content)
    except SafetensorError as error:
        raise CorruptCheckpoint(path, f"is not a safetensors file: {error}") from error
    return Checkpoint(path, manifest, tensors)


def load_for(path: Path, identity: Identity, *, inherits: bool = False) -> Checkpoint:
    """Read the checkpoint of exactly this training at this step; the split is left to the caller.

    With ``inherits``, which is for trainers of Ladder's own, it may be another trial's: seed and mutable entries are
    then free. Raises CorruptCheckpoint, also for a sound checkpoint of another training.
    """
    checkpoint = load(path)
    found, wanted = _comparable(path, checkpoint.manifest.identity), _comparable(path, identity)
    free = {"seed"} | TRAINERS[identity.trainer].mutable if inherits else set()
    for field, value in wanted.items():
        if field not in free and found[field] != value:
            raise CorruptCheckpoint(path, f"is of {field} {found[field]}, the job resumes {field} {value}")
    return checkpoint


def _comparable(path: Path, identity: Identity) -> dict[str, Any]:
    named = {"trainer": identity.trainer, "seed": identity.seed, "step": identity.step}
    if identity.trainer not in TRAINERS:
        return named | {"config": identity.config}  # of a trainer of the user's own, which alone can read it
    try:
        # Parsed again: an entry that came into being after the checkpoint was written has its default in both.
        config = parse_config(identity.trainer, identity.config).model_dump()
    except InvalidConfig as error:
        raise CorruptCheckpoint(path, f"its configuration is not known any more: {error}") from error
    return named | config


def _sha256_of(identity: Identity) -> str:
    return hashlib.sha256(identity.model_dump_json().encode()).hexdigest()
