"""Optimizers by name, and the learning rate as a function of how much of the training is done."""

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn, optim

from models.image_config import ImageCnnConfig

Parameters = Iterable[nn.Parameter]

# OneCycleLR's defaults in torch, after Smith & Topin 2018 (arXiv:1708.07120).
CYCLE_WARMUP = 0.3
CYCLE_START = 1 / 25
CYCLE_END = CYCLE_START / 1e4

# Fused kernels where torch has them for the CPU too: one pass over the parameters instead of several per tensor.
_MAKERS: Mapping[str, Callable[[Parameters, ImageCnnConfig], optim.Optimizer]] = {
    "sgd": lambda params, c: optim.SGD(
        params, lr=c.lr, momentum=_momentum(c, 0.9), weight_decay=c.weight_decay, nesterov=c.nesterov, fused=True
    ),
    "adam": lambda params, c: optim.Adam(params, lr=c.lr, weight_decay=c.weight_decay, fused=True),
    "adamw": lambda params, c: optim.AdamW(params, lr=c.lr, weight_decay=c.weight_decay, fused=True),
    "rmsprop": lambda params, c: optim.RMSprop(
        params, lr=c.lr, momentum=_momentum(c, 0.0), weight_decay=c.weight_decay, foreach=True
    ),
    "adadelta": lambda params, c: optim.Adadelta(params, lr=c.lr, weight_decay=c.weight_decay, foreach=True),
}


def _momentum(config: ImageCnnConfig, usual: float) -> float:
    return usual if config.momentum is None else config.momentum


def build_optimizer(config: ImageCnnConfig, parameters: Parameters) -> optim.Optimizer:
    """The optimizer over the parameters that learn; those that are frozen are left out."""
    return _MAKERS[config.optimizer]([each for each in parameters if each.requires_grad], config)


def lr_at(config: ImageCnnConfig, progress: float) -> float:
    """The learning rate when ``progress``, 0 to 1, of the whole training is done.

    The whole is the study's max_resource, never the rung a trial happens to be trained for: a promoted trial goes on
    along the same curve.
    """
    if config.schedule == "one_cycle":
        return config.lr * _cycle(progress, config.warmup or CYCLE_WARMUP)
    if progress < config.warmup:
        return config.lr * progress / config.warmup
    if config.schedule == "step":
        # A third of the training is over when 3 of 9 epochs are, whatever the rounding: hence a little more.
        return config.lr * config.decay_factor ** math.floor(progress / config.decay_every + 1e-9)
    if config.schedule == "cosine":
        return config.lr * _fall((progress - config.warmup) / (1 - config.warmup))
    return config.lr


def _fall(share: float) -> float:
    """From 1 to 0 along half a cosine (Loshchilov & Hutter 2017, arXiv:1608.03983)."""
    return 0.5 * (1 + math.cos(math.pi * share))


def _cycle(progress: float, warmup: float) -> float:
    if progress < warmup:
        return 1 + (CYCLE_START - 1) * _fall(progress / warmup)
    return CYCLE_END + (1 - CYCLE_END) * _fall((progress - warmup) / (1 - warmup))


def set_lr(optimizer: optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def restrain(config: ImageCnnConfig, parameters: list[nn.Parameter]) -> None:
    """Between backward pass and step: add the L1 penalty's gradient to weights (biases are free), then clip."""
    if config.l1:
        weights = [each for each in parameters if each.grad is not None and each.dim() > 1]
        signs = torch._foreach_sign([each.detach() for each in weights])
        torch._foreach_add_([_grad(each) for each in weights], signs, alpha=config.l1)
    if config.grad_clip is not None:
        nn.utils.clip_grad_norm_(parameters, config.grad_clip, foreach=True)


def _grad(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
