"""What the configurations of all architectures have in common, beside what every image network can be told."""

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from models.image_config import ImageCnnConfig
from models.job import InvalidConfig

Activation = Literal["relu", "sigmoid", "tanh", "gelu", "silu"]


class ArchitectureConfig(ImageCnnConfig):
    """An architecture says of itself what ImageCnnConfig asks, and how far ``tuned_layers`` can count.

    Where it depends on other entries a property is overridden, else the constant that the property gives.
    """

    SMALLEST_SIDE: ClassVar[int] = 1
    SMALLEST_BATCH: ClassVar[int] = 1
    LAYERS: ClassVar[int | None] = None

    @model_validator(mode="after")
    def _layers_fit(self) -> Self:
        most = self.most_tuned_layers
        if self.tuned_layers is not None and most is not None:
            check_tuned_layers(self.tuned_layers, most, self.architecture)
        return self

    @property
    def smallest_side(self) -> int:
        return self.SMALLEST_SIDE

    @property
    def smallest_batch(self) -> int:
        return self.SMALLEST_BATCH

    @property
    def most_tuned_layers(self) -> int | None:
        """The number of layers before the classifier; None where only the built network tells."""
        return self.LAYERS


def check_tuned_layers(asked: int, most: int, architecture: str) -> None:
    """Raises InvalidConfig if the network has fewer layers than are to be tuned."""
    if asked > most:
        raise InvalidConfig(
            "tuned_layers", f"got {asked}, {architecture} so configured has {most} layers before its classifier"
        )
