"""What can be trained, without torch: the typed, ranged configuration of every trainer and architecture.

The ranges of the fields are what is allowed, not what is worth searching. ``parse_config`` is the one way from a
mapping to a configuration; it raises InvalidConfig with the name of the entry at fault.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from models.job import InvalidConfig

MAX_DATA_PATH = 500


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """The shape of a data set's images ``[channels, side, side]`` and its number of classes."""

    channels: int
    side: int
    classes: int


DATASETS: Mapping[str, ImageSpec] = {
    "digits": ImageSpec(channels=1, side=8, classes=10),
    "cifar10": ImageSpec(channels=3, side=32, classes=10),
}


class TrainerConfig(BaseModel):
    """What all configurations share: frozen, no unknown entry, no NaN, and no bool that passes as a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def variant(cls, config: Mapping[str, Any]) -> "type[TrainerConfig]":
        """The class that ``config`` is to be read as. Raises InvalidConfig."""
        return cls

    @classmethod
    def explain_unknown(cls, field: str) -> str:
        return f"unknown entry; known are {_listed(cls.model_fields)}"


class ImageCnnConfig(TrainerConfig):
    """What every image network is trained with.

    ``momentum`` is used by sgd and rmsprop; the others ignore it, so that it can be searched together with the
    optimizer.
    """

    dataset: Literal["digits", "cifar10"] = "digits"
    data_path: str | None = Field(None, description="relative to the worker's data root; None: the data set's name")
    train_images: Annotated[StrictInt, Field(ge=10, le=10**7)] | None = Field(
        None, description="train on only so many, equally many of each class; None: all"
    )
    split_seed: Annotated[StrictInt, Field(ge=0, lt=2**31)] = 0
    architecture: str = "two_conv"
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop", "adadelta"] = "adam"
    lr: Annotated[StrictFloat, Field(gt=0, le=10)] = 1e-3
    momentum: Annotated[StrictFloat, Field(ge=0, lt=1)] | None = Field(None, description="None: sgd 0.9, rmsprop 0")
    weight_decay: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.0
    batch_size: Annotated[StrictInt, Field(ge=1, le=8192)] = 64
    dtype: Literal["fp32"] = "fp32"

    @field_validator("data_path")
    @classmethod
    def _below_root(cls, path: str | None) -> str | None:
        if path is not None and (not path or len(path) > MAX_DATA_PATH):
            raise ValueError(f"want a relative path of 1 to {MAX_DATA_PATH} characters")
        if path is not None and (PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts):
            raise ValueError("want a relative path without '..', below the data root")
        if path is not None and ("\x00" in path or any("\ud800" <= char <= "\udfff" for char in path)):
            raise ValueError("want a path without U+0000 and lone surrogates")
        return path

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.dataset == "digits" and self.data_path is not None:
            raise InvalidConfig(
                "data_path", f"got {_shown(self.data_path)}, but digits comes with scikit-learn: leave it out"
            )
        if self.smallest_side > self.image.side:
            raise InvalidConfig(
                "architecture",
                f"{self.architecture} so configured needs images of {self.smallest_side} px, "
                f"{self.dataset} has {self.image.side} px",
            )
        return self

    @property
    def image(self) -> ImageSpec:
        return DATASETS[self.dataset]

    @property
    def smallest_side(self) -> int:
        """Side in px of the smallest image that the network can take."""
        return 1

    @classmethod
    def variant(cls, config: Mapping[str, Any]) -> type[TrainerConfig]:
        name = config.get("architecture", cls.model_fields["architecture"].default)
        if not isinstance(name, str) or name not in ARCHITECTURES:
            raise InvalidConfig("architecture", f"got {_shown(name)}, want one of {_listed(ARCHITECTURES)}")
        return ARCHITECTURES[name]

    @classmethod
    def explain_unknown(cls, field: str) -> str:
        owners = [name for name, config in ARCHITECTURES.items() if field in config.model_fields]
        if owners:
            return f"an entry of {_listed(owners)}, not of {cls.model_fields['architecture'].default}"
        return super().explain_unknown(field)


class TwoConvConfig(ImageCnnConfig):
    """Two 3x3 convolutions, one dense layer; ``dropout`` is used before and after the dense layer."""

    architecture: Literal["two_conv"] = "two_conv"
    filters1: Annotated[StrictInt, Field(ge=1, le=512)] = 32
    filters2: Annotated[StrictInt, Field(ge=1, le=512)] = 32
    dense_units: Annotated[StrictInt, Field(ge=1, le=4096)] = 128
    dropout: Annotated[StrictFloat, Field(ge=0, le=0.9)] = 0.2
    activation: Literal["relu", "sigmoid", "tanh", "gelu", "silu"] = "relu"

    @property
    def smallest_side(self) -> int:
        return 6  # two unpadded 3x3 convolutions take 4 px, the pooling halves the rest


class ResnetSmallConfig(ImageCnnConfig):
    """A CIFAR-form ResNet of ``2 * stages * blocks + 2`` layers; each stage doubles the width and halves the side."""

    MAX_CHANNELS: ClassVar[int] = 1024

    architecture: Literal["resnet_small"] = "resnet_small"
    width: Annotated[StrictInt, Field(ge=1, le=256)] = 16
    blocks: Annotated[StrictInt, Field(ge=1, le=18, description="residual blocks per stage")] = 1
    stages: Annotated[StrictInt, Field(ge=1, le=6)] = 3

    @model_validator(mode="after")
    def _size(self) -> Self:
        channels = self.width * 2 ** (self.stages - 1)
        if channels > self.MAX_CHANNELS:
            raise InvalidConfig(
                "width",
                f"got {self.width}, which {self.stages} stages double to {channels} channels, "
                f"want at most {self.MAX_CHANNELS}",
            )
        if self.batch_size < 2:
            raise InvalidConfig("batch_size", f"got {self.batch_size}, batch normalisation needs at least 2")
        return self

    @property
    def smallest_side(self) -> int:
        return int(2 ** (self.stages - 1))


class SyntheticConfig(TrainerConfig):
    """A closed-form learning curve with its best at x = 0.7, y = 0.3, and faults to order.

    ``noise`` scales a random walk whose state lives in the checkpoint. ``epoch_s`` is the time that an epoch takes.
    The ``*_at`` entries name the epoch in which the fault happens.
    """

    x: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.5
    y: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.5
    noise: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.01
    epoch_s: Annotated[StrictFloat, Field(ge=0, le=3600)] = 0.0
    checkpoint_bytes: Annotated[StrictInt, Field(ge=0, le=2**28)] = 1024
    diverge_at: Annotated[StrictInt, Field(ge=1)] | None = None
    raise_at: Annotated[StrictInt, Field(ge=1)] | None = None
    kill_at: Annotated[StrictInt, Field(ge=1)] | None = None
    oom_at: Annotated[StrictInt, Field(ge=1)] | None = None
    hang_at: Annotated[StrictInt, Field(ge=1)] | None = None


@dataclass(frozen=True, slots=True)
class TrainerInfo:
    """A trainer's configuration (its base class where there are variants) and what it reports every epoch.

    ``mutable`` entries may change from one epoch to the next: a checkpoint that was trained with others still fits.
    """

    config: type[TrainerConfig]
    metrics: tuple[str, ...]
    mutable: frozenset[str]
    variants: tuple[type[TrainerConfig], ...] = ()

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of the configuration; one alternative per variant."""
        kinds: Any = reduce(or_, self.variants or (self.config,))
        return TypeAdapter(kinds).json_schema()


ARCHITECTURES: Mapping[str, type[ImageCnnConfig]] = {"resnet_small": ResnetSmallConfig, "two_conv": TwoConvConfig}

TRAINERS: Mapping[str, TrainerInfo] = {
    "image-cnn": TrainerInfo(
        ImageCnnConfig,
        ("val_acc", "val_loss", "train_loss", "train_acc", "lr", "images_per_s"),
        frozenset({"lr", "momentum", "weight_decay", "batch_size", "dropout"}),
        tuple(ARCHITECTURES.values()),
    ),
    "synthetic": TrainerInfo(
        SyntheticConfig, ("loss", "acc", "cost"), frozenset({"x", "y", "noise", "epoch_s", "checkpoint_bytes"})
    ),
}


def parse_config(trainer: str, config: Mapping[str, Any]) -> TrainerConfig:
    """Read the configuration of a trainer. Raises InvalidConfig naming the first entry at fault.

    An unknown trainer is the field ``trainer``.
    """
    if trainer not in TRAINERS:
        raise InvalidConfig("trainer", f"got {_shown(trainer)}, want one of {_listed(TRAINERS)}")
    kind = TRAINERS[trainer].config.variant(config)
    try:
        return kind.model_validate(dict(config))
    except ValidationError as invalid:
        raise _refusal(kind, invalid.errors()[0]) from None


def _refusal(kind: type[TrainerConfig], error: ErrorDetails) -> InvalidConfig:
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, InvalidConfig):
        return cause
    field, given = str(error["loc"][0]), _shown(error["input"])
    if error["type"] == "extra_forbidden":
        return InvalidConfig(field, f"got {given}, but this is {kind.explain_unknown(field)}")
    if error["type"] == "literal_error":
        return InvalidConfig(field, f"got {given}, want one of {error['ctx']['expected']}")
    wanted = str(cause) if cause is not None else error["msg"].replace("Input should be", "want", 1)
    return InvalidConfig(field, f"got {given}, {wanted}")


def _shown(value: Any) -> str:
    # Cut by the character and escaped: the text goes into logs and answers, the value is anybody's.
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _listed(names: Mapping[str, Any] | list[str]) -> str:
    return ", ".join(sorted(names))
