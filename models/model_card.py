"""What stands beside the weights of an exported model, in ``model.json``. Torch-free: it is written without torch."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt

FORMAT: Literal[1] = 1
WEIGHTS, CARD = "model.safetensors", "model.json"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ModelImage(BaseModel):
    """What the model takes: uint8 ``[N, channels, side, side]``."""

    model_config = ConfigDict(frozen=True)

    channels: Annotated[StrictInt, Field(ge=1)]
    side: Annotated[StrictInt, Field(ge=1)]
    classes: Annotated[StrictInt, Field(ge=2)]


class ModelScaling(BaseModel):
    """Per channel, in pixel values (0 to 255): ``(pixels - mean) / std`` is what the network is given."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]


class ModelCard(BaseModel):
    """``model.json``: how to build the network again, and where its weights come from.

    ``metrics`` are those of ``step``; None stands for what was not finite. ``confirmed`` says that it is the final
    model of a finished confirmation. ``checkpoint_sha256`` is of the checkpoint that the weights were taken from.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    format: Literal[1] = FORMAT
    sha256: Sha256
    size_bytes: StrictInt
    architecture: str
    config: dict[str, Any]
    image: ModelImage
    class_names: tuple[str, ...]
    scaling: ModelScaling
    study: str
    study_id: str
    trial: StrictInt
    step: StrictInt
    confirmed: bool
    params: dict[str, Any]
    metrics: dict[str, float | None]
    split_sha256: str | None
    checkpoint_sha256: Sha256
    torch_version: str
    ladder_version: str
