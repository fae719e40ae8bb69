"""Published weights: where they are, how images are to be scaled for them, and files of tensors as they are read."""

import pickle
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath

import safetensors.torch
import torch
import torch.hub
from safetensors import SafetensorError
from torch import Tensor

from models._torchvision import import_models
from models.architectures.published_configs import (
    GooglenetConfig,
    InceptionV3Config,
    PublishedConfig,
    TimmConfig,
    XceptionConfig,
)
from models.job import BadData, InvalidConfig

CONNECT_TIMEOUT_S = 10.0  # for the connection, and for every wait for more bytes

Constants = tuple[float, float, float]
HALF: Constants = (0.5, 0.5, 0.5)

# What torch.load raises on altered bytes: of the zip archive, of the pickle within, and of what that asks for.
TORN_PTH = (
    OSError, EOFError, RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError,
    MemoryError, OverflowError, pickle.UnpicklingError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """``mean`` and ``std`` per channel of RGB in 0 to 1. ``sha256`` is how the file's SHA-256 begins, where known."""

    url: str
    file_name: str
    mean: Constants
    std: Constants
    sha256: str | None = None

    @property
    def path(self) -> Path:
        """Where torch.hub, and so torchvision, keeps the file."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.file_name


def published_weights(config: PublishedConfig) -> PublishedWeights:
    """The weights that ``pretrained: true`` means. Raises InvalidConfig if timm has none of this model."""
    if isinstance(config, TimmConfig):
        return _of_timm(config)
    if isinstance(config, XceptionConfig):
        # Keras' weights, ported by Cadene, as timm's legacy_xception serves them.
        url = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-cadene/xception-43020ad28.pth"
        return PublishedWeights(url, PurePosixPath(url).name, HALF, HALF)
    weights = import_models().get_model_weights(config.torchvision_name).DEFAULT
    name = PurePosixPath(weights.url).name
    preset = weights.transforms()
    mean, std = tuple(preset.mean), tuple(preset.std)
    if isinstance(config, GooglenetConfig | InceptionV3Config):
        # Weights of Google's: torchvision scales back to these within the network (transform_input).
        mean, std = HALF, HALF
    return PublishedWeights(weights.url, name, mean, std, name.rpartition("-")[2].removesuffix(".pth"))


def _of_timm(config: TimmConfig) -> PublishedWeights:
    from models.architectures.timm_models import import_timm

    timm = import_timm()
    known = timm.get_pretrained_cfg(config.model_name) if timm.is_model(config.model_name) else None
    if known is None or not (known.hf_hub_id or known.url):
        raise InvalidConfig("pretrained", f"timm {timm.__version__} has no weights of {config.model_name!r}")
    if known.hf_hub_id:
        repository, revision = str(known.hf_hub_id).partition("@")[::2]
        url = f"https://huggingface.co/{repository}/resolve/{revision or 'main'}/model.safetensors"
        name = f"{repository.replace('/', '--')}.safetensors"
    else:
        url, name = known.url, PurePosixPath(known.url).name
    return PublishedWeights(url, name, tuple(known.mean), tuple(known.std))


def fetch(weights: PublishedWeights) -> Path:
    """The file of the weights, downloaded if it is not there yet.

    Raises BadData, naming URL and path, if that fails: many workers have no way out.
    """
    path = weights.path
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            with _socket_timeout(CONNECT_TIMEOUT_S):
                torch.hub.download_url_to_file(weights.url, str(path), weights.sha256, progress=False)
    except (OSError, HTTPException, RuntimeError) as error:
        raise BadData(
            f"the published weights are not at {path} and {weights.url} could not be downloaded ({error}): "
            f"download it elsewhere and place the file at {path}"
        ) from error
    return path


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    # torch.hub has no timeout of its own, and would wait for ever where packets are dropped.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file or, by any other name, of one that torch.save wrote; nothing is run.

    Of a file that holds more, the part ``state_dict`` or ``model``. Raises BadData naming the path.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise BadData(f"{path} is not a safetensors file: {error}") from error
    except TORN_PTH as error:
        reason = str(error).partition("\n")[0]
        raise BadData(f"{path} cannot be read as tensors that torch.save wrote: {reason}") from error
    for part in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(part), Mapping):
            content = content[part]
    if not isinstance(content, Mapping) or not all(isinstance(each, Tensor) for each in content.values()):
        raise BadData(f"{path} holds no tensors by name, but {type(content).__name__}")
    return {str(name): tensor for name, tensor in content.items()}
