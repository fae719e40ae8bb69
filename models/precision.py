"""fp32 or bf16: whichever this device trains faster with. Measured once a process, and only where bf16 is in hardware.

Emulated bf16 is several times slower than fp32, and which CPUs have it does not follow from their age. Whether it costs
accuracy: benchmarks/results, fp32 against bf16 over ten seeds.
"""

import time
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Literal

import torch
from torch import nn

from models.device import arithmetic, device
from models.image_config import ImageCnnConfig

Precision = Literal["fp32", "bf16"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

PAYS_FROM = 1.15  # times the speed of fp32: below it, the plainer arithmetic wins
ROUNDS = 8


def chosen(config: ImageCnnConfig, threads: int) -> Precision:
    """What a new trial trains with; a resumed one keeps what it began with, wherever it goes on."""
    if config.amp == "auto":
        return "bf16" if bf16_pays(threads) else "fp32"
    return "bf16" if config.amp == "bf16" else "fp32"


def autocast(precision: Precision) -> AbstractContextManager[None]:
    return torch.autocast(device().type, dtype=torch.bfloat16, enabled=precision == "bf16")


@lru_cache(maxsize=8)
def bf16_pays(threads: int) -> bool:
    if device().type == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)  # Ampere; what is older emulates it
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported() or not (
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    ):
        return False
    with arithmetic(0, threads, deterministic=True):
        network = nn.Sequential(
            nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 144, 64)
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = torch.rand(64, 3, 16, 16).contiguous(memory_format=torch.channels_last)
        for precision in ("fp32", "bf16"):
            _step_s(network, images, precision)  # the first one compiles kernels
        # In turns, and the fastest of each counts: what else runs here must not decide.
        pairs = [(_step_s(network, images, "fp32"), _step_s(network, images, "bf16")) for _ in range(ROUNDS)]
    return min(fp32_s for fp32_s, _ in pairs) >= PAYS_FROM * min(bf16_s for _, bf16_s in pairs)


def _step_s(network: nn.Module, images: torch.Tensor, precision: Precision) -> float:
    started = time.perf_counter()
    with autocast(precision):
        loss = network(images).float().square().mean()
    loss.backward()
    return time.perf_counter() - started
