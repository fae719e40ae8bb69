"""A model that ``ladder study export --what model`` wrote, as a plain PyTorch module."""

import hashlib
from pathlib import Path

import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn

from models.architectures.registry import build
from models.catalog import parse_config
from models.datasets import ImageSpec
from models.image_config import ImageCnnConfig
from models.job import InvalidConfig
from models.model_card import CARD, WEIGHTS, ModelCard


class InvalidModel(ValueError):
    """A directory that holds no exported model, or one that is torn or altered. Names the path."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


class ExportedModel(nn.Module):
    """uint8 images ``[N, channels, side, side]`` to logits ``[N, classes]``; the scaling is part of it.

    ``classes`` names the logits in order, ``card`` tells where the weights come from.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        super().__init__()
        self.network = network
        self.card = card
        self.classes = card.class_names
        self.register_buffer("mean", torch.tensor(card.scaling.mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(card.scaling.std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Raises ValueError for images of another type or size than the network was trained on."""
        image = self.card.image
        wanted = (image.channels, image.side, image.side)
        if pixels.dtype != torch.uint8 or pixels.ndim != 4 or tuple(pixels.shape[1:]) != wanted:
            raise ValueError(f"want uint8 [N, {', '.join(map(str, wanted))}], got {pixels.dtype} {list(pixels.shape)}")
        logits: Tensor = self.network((pixels.float() - self.mean) / self.std)
        return logits


def load_model(path: str | Path) -> ExportedModel:
    """The model in the directory ``path``, on the CPU and in eval mode.

    Raises InvalidModel if a file is missing, torn, altered or of a kind that this release does not know.
    """
    directory = Path(path)
    card = _card(directory / CARD)
    tensors = _weights(directory / WEIGHTS, card.sha256)
    try:
        config = parse_config("image-cnn", card.config)
        assert isinstance(config, ImageCnnConfig)
        image = ImageSpec(card.image.channels, card.image.side, card.image.classes)
        with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and then overwritten
            network = build(config, image)
    except InvalidConfig as error:
        raise InvalidModel(directory / CARD, f"its network cannot be built here: {error}") from error
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise InvalidModel(directory / WEIGHTS, f"does not fit the network of {CARD}: {error}") from error
    # In the memory format of training: the same kernels, hence the same logits to the last bit.
    return ExportedModel(network.to(memory_format=torch.channels_last), card).eval()  # type: ignore[call-overload]


def _card(path: Path) -> ModelCard:
    try:
        card = ModelCard.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidModel(path, f"cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidModel(path, f"is not the description of a model: {where}: {first['msg']}") from error
    # Published constants are for three channels: grey images become three by them.
    channels = (1, 3) if card.image.channels == 1 else (card.image.channels,)
    if len(card.scaling.mean) != len(card.scaling.std) or len(card.scaling.mean) not in channels:
        raise InvalidModel(path, f"scaling: want a mean and std for each of {card.image.channels} channels")
    if len(card.class_names) != card.image.classes:
        raise InvalidModel(path, f"class_names: want {card.image.classes}, got {len(card.class_names)}")
    return card


def _weights(path: Path, sha256: str) -> dict[str, Tensor]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidModel(path, f"cannot be read: {error.strerror}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise InvalidModel(path, f"has sha256 {found}, {CARD} wants {sha256}")
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise InvalidModel(path, f"is not a safetensors file: {error}") from error
