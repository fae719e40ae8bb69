"""What can be trained, without torch: every trainer with its configuration and what it reports.

``parse_config`` is the one way from a mapping to a configuration; it raises InvalidConfig with the name of the entry
at fault.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import Field, StrictFloat, StrictInt, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from models.architectures.configs import ARCHITECTURES, entry_of
from models.config_base import TrainerConfig, listed, shown
from models.image_config import FOLD_ENTRIES, SPLIT_ENTRIES, ImageCnnConfig
from models.job import InvalidConfig


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
    """A trainer's configuration and what it reports every step.

    ``mutable`` entries may change from one step to the next: a checkpoint that was trained with others still fits.
    All trials of a study agree in ``common``: what is compared must have been trained and judged on the same data.
    With ``variants``, the entry ``chosen_by`` names the configuration's class; ``config`` is their base.
    ``test_metrics`` stand in the last report of a confirmation's final trial; a trainer without a test part has none.
    """

    config: type[TrainerConfig]
    metrics: tuple[str, ...]
    mutable: frozenset[str]
    common: frozenset[str] = frozenset()
    chosen_by: str = ""
    variants: Mapping[str, type[TrainerConfig]] = field(default_factory=dict)
    test_metrics: tuple[str, ...] = ()

    def kind(self, config: Mapping[str, Any]) -> type[TrainerConfig]:
        """The class that ``config`` is to be read as. Raises InvalidConfig."""
        if not self.variants:
            return self.config
        name = config.get(self.chosen_by, self.config.model_fields[self.chosen_by].default)
        if not isinstance(name, str) or entry_of(name) not in self.variants:
            raise InvalidConfig(self.chosen_by, f"got {shown(name)}, want one of {listed(self.variants)}")
        return self.variants[entry_of(name)]

    def explain_unknown(self, kind: type[TrainerConfig], entry: str) -> str:
        owners = [name for name, config in self.variants.items() if entry in config.model_fields]
        if owners:
            own = next(name for name, config in self.variants.items() if config is kind)
            return f"an entry of {listed(owners)}, not of {own}"
        return f"unknown entry; known are {listed(kind.model_fields)}"

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of the configuration; one alternative per variant."""
        kinds: Any = reduce(or_, self.variants.values() or (self.config,))
        return TypeAdapter(kinds).json_schema()


IMAGE_METRICS = (
    "val_acc",
    "val_loss",
    "train_loss",
    "train_acc",
    "lr",
    "images_per_s",
    "epoch_s",
    "peak_memory_mb",
    "balanced_acc",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "params_m",
    "model_mb",
    "gflops",
    "latency_ms",
    "corrupt_images",
)

TEST_METRICS = ("test_acc", "test_loss", "test_balanced_acc", "test_macro_f1", "test_images")

TRAINERS: Mapping[str, TrainerInfo] = {
    "image-cnn": TrainerInfo(
        ImageCnnConfig,
        IMAGE_METRICS,
        frozenset(
            {"lr", "momentum", "weight_decay", "batch_size", "dropout", "label_smoothing", "l1", "grad_clip", "augment"}
            | {"mix", "mix_alpha"}
        ),
        frozenset({*SPLIT_ENTRIES, *FOLD_ENTRIES}),
        "architecture",
        ARCHITECTURES,
        TEST_METRICS,
    ),
    "synthetic": TrainerInfo(
        SyntheticConfig,
        ("loss", "acc", "cost"),
        frozenset({"x", "y", "noise", "epoch_s", "checkpoint_bytes"}),
        test_metrics=("test_acc", "test_loss", "test_images"),
    ),
}


def parse_config(trainer: str, config: Mapping[str, Any]) -> TrainerConfig:
    """Read the configuration of a trainer. Raises InvalidConfig naming the first entry at fault.

    An unknown trainer is the field ``trainer``.
    """
    if trainer not in TRAINERS:
        raise InvalidConfig("trainer", f"got {shown(trainer)}, want one of {listed(TRAINERS)}")
    info = TRAINERS[trainer]
    kind = info.kind(config)
    try:
        return kind.model_validate(dict(config))
    except ValidationError as invalid:
        raise _refusal(info, kind, invalid.errors()[0]) from None


def _refusal(info: TrainerInfo, kind: type[TrainerConfig], error: ErrorDetails) -> InvalidConfig:
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, InvalidConfig):
        return cause
    entry, given = str(error["loc"][0]), shown(error["input"])
    if error["type"] == "extra_forbidden":
        return InvalidConfig(entry, f"got {given}, but this is {info.explain_unknown(kind, entry)}")
    if error["type"] == "literal_error":
        return InvalidConfig(entry, f"got {given}, want one of {error['ctx']['expected']}")
    wanted = str(cause) if cause is not None else error["msg"].replace("Input should be", "want", 1)
    return InvalidConfig(entry, f"got {given}, {wanted}")
