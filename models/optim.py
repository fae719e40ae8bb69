"""Optimizers by name, and the learning rate as a function of the step."""

from collections.abc import Callable, Iterable, Mapping

from torch import nn, optim

from models.image_config import ImageCnnConfig

Parameters = Iterable[nn.Parameter]

# Fused kernels where torch has them for the CPU too: one pass over the parameters instead of several per tensor.
_MAKERS: Mapping[str, Callable[[Parameters, ImageCnnConfig], optim.Optimizer]] = {
    "sgd": lambda params, c: optim.SGD(
        params, lr=c.lr, momentum=_momentum(c, 0.9), weight_decay=c.weight_decay, fused=True
    ),
    "adam": lambda params, c: optim.Adam(params, lr=c.lr, weight_decay=c.weight_decay, fused=True),
    "adamw": lambda params, c: optim.AdamW(params, lr=c.lr, weight_decay=c.weight_decay, fused=True),
    "rmsprop": lambda params, c: optim.RMSprop(
        params, lr=c.lr, momentum=_momentum(c, 0.0), weight_decay=c.weight_decay
    ),
    "adadelta": lambda params, c: optim.Adadelta(params, lr=c.lr, weight_decay=c.weight_decay),
}


def _momentum(config: ImageCnnConfig, usual: float) -> float:
    return usual if config.momentum is None else config.momentum


def build_optimizer(config: ImageCnnConfig, parameters: Parameters) -> optim.Optimizer:
    return _MAKERS[config.optimizer](parameters, config)


def lr_at(config: ImageCnnConfig, epoch: int, max_resource: int) -> float:
    """The learning rate of ``epoch``, 1 to ``max_resource``. Constant for now.

    A schedule may depend on ``max_resource`` but never on the rung a trial happens to be trained for.
    """
    return config.lr


def set_lr(optimizer: optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr
