"""What a network is worth and what it costs: scores from a confusion matrix, size, operations, latency.

Every measure of a network runs it in eval mode without gradients, draws nothing from any random generator, and leaves
the network as it was: BatchNorm's statistics, frozen modules and random states are those of before.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.classification import classification
from models.datasets import ImageSpec

WARM_UPS = 3
LATENCY_S = 0.3  # in all, unless one pass takes longer
# A trial waits for them before its first batch: 100 took a digits trial 20 ms. Measured 30 times over on a quiet CPU,
# nine medians of 10 in ten were within 2 % of the middle one, those of 100 no closer; on a busy CPU neither helps.
MAX_PASSES = 10


def scores(confusion: Tensor) -> dict[str, float]:
    """Scores that weigh every class alike, from counts int64 [K, K]: see models.classification, also for ValueError."""
    found = classification(confusion.cpu().numpy())
    return {
        "balanced_acc": found.balanced_accuracy,
        "macro_precision": found.macro_precision,
        "macro_recall": found.macro_recall,
        "macro_f1": found.macro_f1,
    }


def size_of(network: nn.Module, image: ImageSpec) -> dict[str, float]:
    """``params_m``, ``model_mb`` and ``gflops`` of a network for such images.

    ``params_m``: all parameters, frozen ones too, in millions. ``model_mb``: bytes of parameters and buffers / 1e6.
    ``gflops``: 1e9 floating-point operations of the forward pass of one image, where a multiply-add counts 2 (papers
    that count multiply-adds state half of it); convolutions and matrix products alone are counted.
    """
    parameters, buffers = list(network.parameters()), list(network.buffers())
    counter = FlopCounterMode(display=False)
    with _undisturbed(network), torch.no_grad(), counter:
        network(_blank(image, parameters[0].device))
    return {
        "params_m": sum(one.numel() for one in parameters) / 1e6,
        "model_mb": sum(one.numel() * one.element_size() for one in (*parameters, *buffers)) / 1e6,
        "gflops": counter.get_total_flops() / 1e9,
    }


def latency_ms(network: nn.Module, image: ImageSpec, device: torch.device, dtype: torch.dtype) -> float:
    """Median milliseconds of the forward pass of one image (batch 1) on ``device``, where ``network`` lies, once warm.

    ``dtype`` is what autocast computes in; float32 means no autocast. It takes 13 passes, of slow
    networks as many as begin in 0.3 s, but two at least.
    """
    autocast = nullcontext() if dtype is torch.float32 else torch.autocast(device.type, dtype)
    passes_s: list[float] = []
    with _undisturbed(network), torch.inference_mode(), autocast:
        blank = _blank(image, device)
        ends_at = time.perf_counter() + LATENCY_S
        for index in range(WARM_UPS + MAX_PASSES):
            started = time.perf_counter()
            network(blank)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            ended = time.perf_counter()
            # Of a network so slow that the warm-up takes all the time, the second pass is the measure.
            if index >= WARM_UPS or (index and ended >= ends_at):
                passes_s.append(ended - started)
            if passes_s and ended >= ends_at:
                break
    return median(passes_s) * 1e3


@contextmanager
def _undisturbed(network: nn.Module) -> Iterator[None]:
    """Within, all of ``network`` is in eval mode; afterwards each module is in the mode that it was in."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:  # not network.train(): frozen modules stay in eval mode
            module.training = training


def _blank(image: ImageSpec, device: torch.device) -> Tensor:
    """One image of zeros, [1, C, H, W] in channels-last order: what it shows changes neither operations nor time."""
    blank = torch.zeros(1, image.channels, image.side, image.side, device=device)
    return blank.to(memory_format=torch.channels_last)
