"""The lines that pass over the pipes between a worker and its trainer child: one JSON object each.

The worker treats what comes from the child as hostile: trial code runs there. ``run`` numbers the trials that a child
was given, so that a late line about an earlier trial is never taken for one about this trial.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, TypeAdapter, ValidationError

from api.schemas.base import Metrics
from api.schemas.leases import CheckpointIn, ClassNames, Confusion, Sha256, Step
from models.job import TrainJob

# What a child may say at once, which is longest where it tells of 200 classes; orders may be longer.
MAX_LINE_BYTES = 1 << 19
TAIL_BYTES = 8192  # of a traceback or of stderr that is kept


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def line(self) -> bytes:
        return self.model_dump_json().encode() + b"\n"


class Train(_Line):
    """Order: train on from ``from_step``; at each of ``rungs`` and at ``target_step`` wait for Go, Park or Drop."""

    do: Literal["train"] = "train"
    run: int
    trainer: str
    config: dict[str, Any]
    seed: int
    from_step: int
    target_step: int
    max_resource: int
    resume: Path | None
    inherits: bool  # resume is another trial's checkpoint
    data_root: Path
    threads: int
    rungs: tuple[int, ...]
    checkpoint_every: int
    directory: Path
    cache_root: Path | None = None
    split_sha256: str | None = None
    final: Literal["train", "train_and_validation"] | None = None

    def job(self) -> TrainJob:
        return TrainJob(
            trainer=self.trainer,
            config=self.config,
            seed=self.seed,
            from_step=self.from_step,
            max_resource=self.max_resource,
            resume=self.resume,
            inherits=self.inherits,
            data_root=self.data_root,
            threads=self.threads,
            cache_root=self.cache_root,
            split_sha256=self.split_sha256,
            final=self.final,
        )


class Go(_Line):
    """Order: train on up to ``target_step``."""

    do: Literal["go"] = "go"
    run: int
    target_step: int


class Park(_Line):
    """Order: end after the epoch that runs now, with a checkpoint, and say Parked."""

    do: Literal["park"] = "park"
    run: int


class Drop(_Line):
    """Order: forget the trial."""

    do: Literal["drop"] = "drop"
    run: int


class Ready(_Line):
    """The child has imported all it needs and waits for its first trial."""

    say: Literal["ready"] = "ready"


class Progress(_Line):
    """``done`` of ``total`` are done, of images to decode or of epochs within a step, which a fold has many of.

    The run is not stalled as long as what is said here changes.
    """

    say: Literal["progress"] = "progress"
    run: StrictInt
    done: Annotated[StrictInt, Field(ge=0)]
    total: Annotated[StrictInt, Field(ge=0)]


class Batch(_Line):
    """The first batch of a run has begun, on such data."""

    say: Literal["batch"] = "batch"
    run: StrictInt
    split_sha256: Sha256 | None = None
    class_names: ClassNames = Field(default_factory=list)


class Epoch(_Line):
    """An epoch has ended. With ``waits``, the child does nothing until it is told how to go on.

    ``finished``: its trainer has ended of its own accord, the run is over. ``confusion`` comes only where one of the
    two holds, and of at most ``MAX_CLASSES`` classes.
    """

    say: Literal["epoch"] = "epoch"
    run: StrictInt
    step: Step
    metrics: Metrics
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    checkpoint: CheckpointIn | None = None
    waits: bool = False
    finished: bool = False
    confusion: Confusion | None = None
    peak_memory_bytes: Annotated[StrictInt, Field(ge=0)] | None = None


class Finished(_Line):
    """The run has ended before its first epoch: the trial to go on with had ended of its own accord already."""

    say: Literal["finished"] = "finished"
    run: StrictInt


class Parked(_Line):
    """The run has ended as Park asked; every epoch and checkpoint of it was said before."""

    say: Literal["parked"] = "parked"
    run: StrictInt


class Failed(_Line):
    """The run has ended in an error. ``soiled``: the process may have been left in a bad state by it.

    ``corrupt``: the checkpoint to resume from is not what it should be; nothing was trained.
    """

    say: Literal["failed"] = "failed"
    run: StrictInt
    kind: Literal["diverged", "user_error", "oom", "infra", "corrupt"]
    message: str
    traceback: str = ""
    step: Step | None = None
    metrics: Metrics = Field(default_factory=dict)
    soiled: bool = True


Order = Train | Go | Park | Drop
Said = Ready | Progress | Batch | Epoch | Finished | Parked | Failed

_ORDER: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="do")])
_SAID: TypeAdapter[Said] = TypeAdapter(Annotated[Said, Field(discriminator="say")])


def order(line: bytes) -> Order:
    """The child's side: its worker is trusted, so a bad line is a defect and raises."""
    return _ORDER.validate_json(line)


def said(line: bytes) -> Said | None:
    """The worker's side: what the line says, None if it is not of the protocol."""
    try:
        return _SAID.validate_json(line)
    except ValidationError:
        return None
