"""Checkpoints of trainers of the user's own: the state they gave, and in which step they gave it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models import checkpoint
from models.checkpoint import CorruptCheckpoint, Identity
from models.job import SavedFile, TrainJob
from models.own_state import decode, encode
from models.session import Reported

# The JSON part lies among the tensors, so that one SHA-256, which the server knows, is over both.
_PLAIN = "ladder.json"


@dataclass(frozen=True, slots=True)
class Kept:
    """What a trial goes on from: ``state`` as of ``state_step``, 0 for none, and the ``metrics`` of its last step."""

    state: Any = None
    state_step: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)


def save(job: TrainJob, said: Reported, path: Path) -> SavedFile:
    """Write the checkpoint of a reported step, also if the trainer has never given a state. Raises OSError."""
    plain: Any = None
    tensors: dict[str, Tensor] = {}
    if said.state is not None:
        plain, tensors = said.state
    body = {"state": plain, "state_step": said.state_step, "metrics": encode(dict(said.metrics))[0]}
    text = torch.frombuffer(bytearray(json.dumps(body, allow_nan=False).encode()), dtype=torch.uint8)
    return checkpoint.save(path, _identity(job, said.step), {**tensors, _PLAIN: text})


def load(path: Path, job: TrainJob) -> Kept:
    """Read the checkpoint that ``job`` resumes. Raises CorruptCheckpoint, also if it is another job's."""
    found = checkpoint.load_for(path, _identity(job, job.from_step))
    try:
        body = json.loads(bytes(found.tensors[_PLAIN].numpy()))
        state, metrics = (decode(body[name], found.tensors) for name in ("state", "metrics"))
        return Kept(state, int(body["state_step"]), metrics)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptCheckpoint(path, f"holds no state of a trainer: {error!r}") from error


def _identity(job: TrainJob, step: int) -> Identity:
    return Identity(trainer=job.trainer, config=dict(job.config), seed=job.seed, step=step)
