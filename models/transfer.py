"""Transfer learning: published or own weights to start from, and only the last layers trained.

Layers are counted from the classifier backwards. A layer is a convolution, a dense layer or a norm, in the order in
which images pass them; Xception's are counted as Keras does. docs/architectures.md says how many each network has.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from models.architectures.config_base import check_tuned_layers
from models.architectures.parts import Head, without_grey
from models.architectures.published_configs import PublishedConfig
from models.architectures.weights import fetch, published_weights, read_tensors
from models.architectures.xception import Xception
from models.datasets import ImageSpec
from models.image_config import ImageCnnConfig
from models.job import BadData

# Tensors of published files that have no place here: the auxiliary classifiers.
LEFT_OUT = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}
# Files from before PyTorch 0.4.1 do not count batches; only a norm without momentum would need it.
BATCH_COUNT = "num_batches_tracked"


def load_pretrained(network: nn.Module, config: ImageCnnConfig, image: ImageSpec, data_root: Path) -> None:
    """Give ``network`` the weights that ``config.pretrained`` names; does nothing where it names none.

    ``true`` means the published ones: from torch.hub's cache, else downloaded. A path below ``data_root`` means a
    ``.pth`` or ``.safetensors`` file, a checkpoint or an exported model of Ladder's too. The classifier of the file is
    taken if it has the shape of the network's, and else left as it is.

    Raises BadData, naming file and tensor, if the file is missing or torn or any other tensor does not fit.
    """
    if config.pretrained is False:
        return
    if config.pretrained is True:
        assert isinstance(config, PublishedConfig)  # no other configuration says that it has weights
        path = fetch(published_weights(config))
    else:
        path = _below(data_root, config.pretrained)
    body = without_grey(network)
    given = _named_as_here(read_tensors(path), config)
    wanted = body.state_dict()
    head = f"{_name_of_head(body)}."
    if _shapes(given, head) != _shapes(wanted, head):
        given = {name: tensor for name, tensor in given.items() if not name.startswith(head)}
        wanted = {name: tensor for name, tensor in wanted.items() if not name.startswith(head)}
    _check(path, given, wanted, f"{config.architecture} for images of {image.channels} x {image.side} x {image.side}")
    body.load_state_dict(given, strict=False)


def scaling_of(config: ImageCnnConfig) -> tuple[Tensor, Tensor] | None:
    """Mean and deviation of pixel values (0 to 255) that published weights were trained with: float32 [1, 3, 1, 1].

    None where the training part's own are right: without published weights, and for ``.safetensors`` files, which are
    taken for Ladder's. Grey images [N, 1, H, W] become [N, 3, H, W] by them, which a network for grey images takes.
    """
    published = config.pretrained is True or (
        isinstance(config.pretrained, str) and not config.pretrained.endswith(".safetensors")
    )
    if not published or not isinstance(config, PublishedConfig):
        return None
    weights = published_weights(config)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in (weights.mean, weights.std))
    return mean, std


def layers_before_classifier(network: nn.Module) -> list[nn.Module | None]:
    """What ``tuned_layers`` counts, from the image on; None for layers of Keras' that have no parameters."""
    body = without_grey(network)
    if isinstance(body, Xception):
        return body.keras_layers()
    head = set(_head(body).modules())
    return [layer for layer in _innermost(body) if layer not in head]


def tune_last(network: nn.Module, config: ImageCnnConfig) -> None:
    """Freeze all but the classifier and the last ``config.tuned_layers`` layers before it; None freezes nothing.

    A parameter that belongs to no layer (ConvNeXt's layer scale) learns if all layers of its module do.
    Raises InvalidConfig if there are fewer layers.
    """
    if config.tuned_layers is None:
        return
    layers = layers_before_classifier(network)
    check_tuned_layers(config.tuned_layers, len(layers), config.architecture)
    last = [layer for layer in layers[len(layers) - config.tuned_layers :] if layer is not None]
    tuned = {part for layer in [*last, _head(network)] for part in layer.modules()}
    for module in network.modules():
        learns = all(layer in tuned for layer in _innermost(module))
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(learns)


def train_mode(network: nn.Module) -> None:
    """``network.train()``, but what is frozen as a whole stays in eval mode: its norms keep their statistics."""
    network.train()
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def _innermost(network: nn.Module) -> Iterator[nn.Module]:
    """The modules with parameters of their own that hold no other such module."""
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        if own and len(own) == len(list(module.parameters())):
            yield module


def _head(network: nn.Module) -> nn.Module:
    return network.get_submodule(_name_of_head(network))


def _name_of_head(network: nn.Module) -> str:
    names: Iterator[str] = (name for name, module in network.named_modules() if isinstance(module, Head))
    return next(names)


def _below(data_root: Path, relative: str) -> Path:
    path = data_root / relative
    try:
        inside = path.resolve().is_relative_to(data_root.resolve())
        if inside and path.is_file():
            return path
    except (OSError, RuntimeError) as error:  # a loop of links is one of them, by the version of Python
        raise BadData(f"pretrained: {path} cannot be looked at: {error}") from error
    raise BadData(f"pretrained: {path} " + ("is no file" if inside else f"leads out of the data root {data_root}"))


def _named_as_here(tensors: Mapping[str, Tensor], config: ImageCnnConfig) -> dict[str, Tensor]:
    """Without the prefixes of checkpoints and of networks for grey images; foreign names of the classifier replaced."""
    # Of a checkpoint with averaged weights these are the ones that were validated.
    for prefix in ("ema.", "model."):
        if any(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
            break
    if all(name.startswith("1.") for name in tensors):
        tensors = {name.removeprefix("1."): tensor for name, tensor in tensors.items()}
    if config.architecture == "xception":
        tensors = {name.replace("last_linear.", "fc."): tensor for name, tensor in tensors.items()}
    left_out = LEFT_OUT.get(config.architecture, ())
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(left_out)}


def _shapes(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items() if name.startswith(prefix)}


def _check(path: Path, given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], network: str) -> None:
    """Raises BadData naming the first tensor that is missing, unknown or of another shape, and how many there are."""
    wrong = [f"{name} is missing" for name in wanted if name not in given and not name.endswith(BATCH_COUNT)]
    wrong += [f"{name} is not of this network" for name in given if name not in wanted]
    wrong += [
        f"{name} is {list(given[name].shape)}, want {list(wanted[name].shape)}"
        for name in wanted
        if name in given and given[name].shape != wanted[name].shape
    ]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise BadData(f"{path} does not fit {network}: {wrong[0]}{more}")
