"""What every image network can be told: its data, how it learns, how it is kept from learning by heart. Torch-free.

The ranges are what is allowed, not what is worth searching.
"""

from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, field_validator, model_validator

from models.config_base import TrainerConfig, shown
from models.datasets import DATASETS, ImageSpec
from models.job import InvalidConfig

MAX_PATH = 500
# Entries that decide which images are training, validation and test part, and those that turn the first two into folds.
SPLIT_ENTRIES = ("dataset", "data_path", "split_seed", "val_fraction")
FOLD_ENTRIES = ("folds", "fold_epochs")

Share = Annotated[StrictFloat, Field(gt=0, lt=1)]
Count = Annotated[StrictInt, Field(ge=1, le=10**6)]


class ImageCnnConfig(TrainerConfig):
    """Entries that the chosen optimizer or schedule does not use are ignored, so that they can be searched together.

    ``step`` below is what the study counts: an epoch, or with ``folds`` one fold trained for ``fold_epochs`` epochs.
    """

    # the data
    dataset: Literal["digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "image_folder", "npz"] = "digits"
    data_path: str | None = Field(None, description="relative to the worker's data root; None: the data set's name")
    image_size: Annotated[StrictInt, Field(ge=4, le=1024)] | None = Field(
        None, description="side in px that images are scaled to; None: their own, 224 for image_folder"
    )
    split_seed: Annotated[StrictInt, Field(ge=0, lt=2**31)] = 0
    val_fraction: Share | None = Field(None, description="of what is not test; None: as is usual for the data set")
    train_fraction: Annotated[StrictFloat, Field(gt=0, le=1)] = Field(
        1.0, description="of each class's training images, the first so many of a fixed random order"
    )
    train_images: Annotated[StrictInt, Field(ge=10, le=10**7)] | None = Field(
        None, description="train on only so many, equally many of each class; None: all"
    )
    balance: Literal["none", "subset", "oversample"] = Field(
        "none", description="subset: as many of each class as the rarest has; oversample: rare ones are drawn again"
    )
    class_weights: Literal["none", "log", "inverse"] = Field(
        "none", description="of the loss; log: ln(n / n_k), the most common class 1; inverse: n / (classes n_k)"
    )
    max_corrupt: Annotated[StrictFloat, Field(ge=0, lt=1)] = Field(
        0.01, description="share of image files that may be unreadable before a trial fails"
    )
    folds: Annotated[StrictInt, Field(ge=2, le=50)] | None = Field(
        None, description="k-fold cross-validation: step i reports the mean over the first i folds"
    )
    fold_epochs: Count = Field(10, description="with folds: epochs that each fold is trained for")

    # the network
    architecture: str = "two_conv"
    dropout: Annotated[StrictFloat, Field(ge=0, le=0.9)] = 0.0
    pretrained: StrictBool | str = Field(
        False, description="true: the published ImageNet weights; a path below the data root: these"
    )
    tuned_layers: Annotated[StrictInt, Field(ge=0, le=1000)] | None = Field(
        None, description="only the last so many layers before the classifier learn, and it; None: all"
    )

    # how it learns
    batch_size: Annotated[StrictInt, Field(ge=1, le=8192)] = 64
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop", "adadelta"] = "adam"
    lr: Annotated[StrictFloat, Field(gt=0, le=10)] = 1e-3
    momentum: Annotated[StrictFloat, Field(ge=0, lt=1)] | None = Field(None, description="None: sgd 0.9, rmsprop 0")
    nesterov: StrictBool = Field(False, description="of sgd; needs a momentum above 0")
    schedule: Literal["constant", "step", "cosine", "one_cycle"] = Field(
        "constant", description="over the study's max_resource, whichever rung a trial is trained for"
    )
    warmup: Annotated[StrictFloat, Field(ge=0, lt=1)] = Field(
        0.0, description="share of the training in which the learning rate rises to lr"
    )
    decay_every: Annotated[StrictFloat, Field(gt=0, lt=1)] = Field(
        1 / 3, description="of step: the share of the training after which the learning rate falls, again and again"
    )
    decay_factor: Share = Field(0.1, description="of step: what the learning rate is multiplied by")
    weight_decay: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.0
    l1: Annotated[StrictFloat, Field(ge=0, le=1)] = Field(0.0, description="times the sum of the weights' sizes")
    grad_clip: Annotated[StrictFloat, Field(gt=0, le=1e6)] | None = Field(None, description="norm of all gradients")
    label_smoothing: Annotated[StrictFloat, Field(ge=0, lt=1)] = 0.0
    ema: Annotated[StrictFloat, Field(ge=0, lt=1)] | None = Field(
        None, description="decay per batch of an average of the weights, which is what is validated"
    )
    patience: Count | None = Field(
        None, description="end the trial after so many epochs without a lower val_loss; None: never"
    )

    # augmentation
    augment: Literal["none", "crop_flip", "paper_affine", "randaugment"] = "none"
    mix: Literal["none", "mixup", "cutmix"] = "none"
    mix_alpha: Annotated[StrictFloat, Field(gt=0, le=10)] = 0.2

    # the arithmetic
    amp: Literal["auto", "off", "bf16"] = Field(
        "auto", description="auto: bf16 where the device computes faster with it; off: fp32"
    )
    deterministic: StrictBool = Field(
        False, description="the same bits on the same kind of GPU, at a cost in time; on a CPU it is always so"
    )

    @field_validator("data_path", "pretrained")
    @classmethod
    def _below_root(cls, path: str | bool | None) -> str | bool | None:
        if not isinstance(path, str):
            return path
        if not path or len(path) > MAX_PATH:
            raise ValueError(f"want a relative path of 1 to {MAX_PATH} characters")
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise ValueError("want a relative path without '..', below the data root")
        if "\x00" in path or any("\ud800" <= char <= "\udfff" for char in path):
            raise ValueError("want a path without U+0000 and lone surrogates")
        return path

    @model_validator(mode="after")
    def _data_fit(self) -> Self:
        if self.dataset == "digits" and self.data_path is not None:
            raise InvalidConfig(
                "data_path", f"got {shown(self.data_path)}, but digits comes with scikit-learn: leave it out"
            )
        if self.train_images is not None and (self.balance != "none" or self.train_fraction < 1):
            other = "balance" if self.balance != "none" else "train_fraction"
            raise InvalidConfig(other, f"train_images = {self.train_images} chooses the images already: leave one out")
        image = self.image
        if image is not None and self.smallest_side > image.side:
            raise InvalidConfig(
                "architecture",
                f"{self.architecture} so configured needs images of {self.smallest_side} px, "
                + (f"image_size is {image.side}" if self.image_size else f"{self.dataset} has {image.side} px"),
            )
        return self

    @model_validator(mode="after")
    def _learning_fits(self) -> Self:
        if self.nesterov and self.optimizer == "sgd" and self.momentum == 0:
            raise InvalidConfig("nesterov", "got True, but momentum is 0: give it a momentum above 0")
        if self.pretrained is True and not self.has_weights:
            raise InvalidConfig("pretrained", f"got True, but there are no published weights of {self.architecture}")
        if self.batch_size < self.smallest_batch:
            raise InvalidConfig(
                "batch_size", f"got {self.batch_size}, batch normalisation needs at least {self.smallest_batch}"
            )
        return self

    @property
    def image(self) -> ImageSpec | None:
        """What the network will be given; None where only the data's files tell."""
        info = DATASETS[self.dataset]
        side = self.image_size or info.usual_side
        if info.image is None or side is None:
            return info.image
        return ImageSpec(info.image.channels, side, info.image.classes)

    # What an architecture says of itself; its configuration overrides them.

    @property
    def smallest_side(self) -> int:
        """Side in px of the smallest image that the network can take."""
        return 1

    @property
    def smallest_batch(self) -> int:
        return 1

    @property
    def has_weights(self) -> bool:
        """Whether ``pretrained: true`` means something."""
        return False
