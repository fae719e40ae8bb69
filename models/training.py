"""A network with its optimizer, and what one epoch does to them."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.architectures.registry import build
from models.augment import mixer, policy
from models.batches import Pictures, all_of, pictures
from models.checkpoint import Checkpoint, CorruptCheckpoint
from models.data import Images, Scaling, Split
from models.device import arithmetic, device
from models.image_config import ImageCnnConfig
from models.job import Watcher
from models.measures import scores
from models.memory import peak_bytes
from models.optim import build_optimizer, lr_at, restrain, set_lr
from models.precision import Precision, autocast
from models.scoring import Score, score
from models.seeds import derive
from models.transfer import scaling_of, train_mode, tune_last


@dataclass(frozen=True, slots=True)
class Epoch:
    """What an epoch came to. ``metrics`` holds all but what the network is (its size, its latency)."""

    metrics: dict[str, float]
    confusion: Tensor
    seconds: float


class Training:
    """Everything that learns, on the device. ``length`` is the number of epochs that schedules are laid out over.

    Initial weights, data order and all chance are functions of ``seed`` and the epoch.
    """

    def __init__(
        self, config: ImageCnnConfig, split: Split, *, seed: int, length: int, threads: int, precision: Precision
    ) -> None:
        self.config, self.split, self.precision = config, split, precision
        self._seed, self._length, self._threads = seed, length, threads
        with self._arithmetic("initial weights"):
            network = build(config, split.image)
        self.network = network.to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
        tune_last(self.network, config)
        self.optimizer = build_optimizer(config, self.network.parameters())
        self.averaged: AveragedModel | None = None
        if config.ema is not None:
            self.averaged = AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)  # type: ignore[no-untyped-call]
        self._parameters = [each for each in self.network.parameters() if each.requires_grad]
        self._train, self._val = pictures(split)
        self.scaling = scaling_for(config, split).to(device())
        self._weights = None if split.class_weights is None else split.class_weights.to(device())
        self._alter = policy(config.augment, split.image.channels)
        self._mix = None if config.mix == "none" else mixer(config.mix, split.image.classes, config.mix_alpha)

    @property
    def judged(self) -> nn.Module:
        """The network that is validated and used: the average of the weights where there is one."""
        return self.network if self.averaged is None else self.averaged.module

    def epoch(self, number: int) -> Epoch:
        """Train epoch ``number``, which counts from 1, and validate."""
        started = time.perf_counter()
        with self._arithmetic("noise", number):
            totals, images, lr = self._train_epoch(number)
            loss, correct = totals.tolist()  # the first wait for the device in this epoch
        trained_s = time.perf_counter() - started
        val = self.validate(number)
        seconds = time.perf_counter() - started
        trained = {
            "train_loss": loss / images,
            "train_acc": correct / images,
            "lr": lr,
            "images_per_s": images / trained_s,
            "epoch_s": seconds,
            "peak_memory_mb": peak_bytes() / 1e6,
            "corrupt_images": float(len(self.split.corrupt)),
        }
        return Epoch(val.metrics | trained, val.confusion, seconds)

    def epochs(self, first: int, last: int, watcher: Watcher | None) -> Iterator[Epoch]:
        """Train epochs ``first`` to ``last``, all in one step of the study."""
        for number in range(first, last + 1):
            yield self.epoch(number)
            if watcher is not None and last > first:
                watcher.progress(number, last)

    def validate(self, number: int) -> Epoch:
        """Score the validation part as of the end of epoch ``number``."""
        started = time.perf_counter()
        with self._arithmetic("validation", number):
            val = self._score(self._val)
        metrics = {"val_acc": val.accuracy, "val_loss": val.loss, **scores(val.confusion)}
        return Epoch(metrics, val.confusion, time.perf_counter() - started)

    def score_images(self, images: Images) -> Score:
        """Score images that are no part of the split."""
        with self._arithmetic("scoring"):
            return self._score(all_of(images))

    def _score(self, part: Pictures) -> Score:
        classes = self.split.image.classes
        return score(self.judged, part, classes, scaling=self.scaling, precision=self.precision)

    def _arithmetic(self, purpose: str, epoch: int = 0) -> AbstractContextManager[None]:
        return arithmetic(derive(self._seed, purpose, epoch), self._threads, deterministic=self.config.deterministic)

    def _train_epoch(self, number: int) -> tuple[Tensor, int, float]:
        """Sums of loss and of right answers, the images, the last learning rate. Nothing here waits for the device."""
        train_mode(self.network)
        config, lr = self.config, 0.0
        totals = torch.zeros(2, dtype=torch.float64, device=device())
        batches = len(self._train) // min(config.batch_size, len(self._train))
        order = self._train.shuffled(config.batch_size, derive(self._seed, "data order", number))
        images = 0
        for index, (pixels, labels) in enumerate(order):
            # At the middle of the batch: the first one of a warm-up learns, the last one of a cosine too.
            lr = lr_at(config, (number - 1 + (index + 0.5) / batches) / self._length)
            set_lr(self.optimizer, lr)
            inputs, wanted = self.scaling(self._alter(pixels)), labels
            if self._mix is not None:
                inputs, wanted = self._mix(inputs, labels)
            with autocast(self.precision):
                logits = self.network(inputs).float()
            loss = self._loss(logits, wanted)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            restrain(config, self._parameters)
            self.optimizer.step()
            if self.averaged is not None:
                self.averaged.update_parameters(self.network)
            totals[0] += loss.detach() * len(labels)
            totals[1] += (logits.argmax(1) == labels).sum()
            images += len(labels)
        return totals, images, lr

    def _loss(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """Cross-entropy, weighted by class. ``wanted`` are labels [N], or shares of the classes [N, classes]."""
        smoothing = self.config.label_smoothing
        loss = F.cross_entropy(logits, wanted, weight=self._weights, label_smoothing=smoothing)
        if self._weights is not None and wanted.is_floating_point():
            # Of labels torch takes the weighted mean, of shares the sum over N: what is mixed must not learn faster.
            loss = loss / (wanted @ self._weights).mean()
        return loss

    # What a checkpoint holds of it

    def tensors(self) -> dict[str, Tensor]:
        """All that resuming needs: schedule, noise and data order are functions of seed and epoch, and need nothing."""
        found = {f"model.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            # What is None (the velocity of an SGD without momentum) is absent, and comes back as absent.
            found |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items() if tensor is not None}
        if self.averaged is not None:
            found |= {f"ema.{name}": tensor for name, tensor in self.averaged.module.state_dict().items()}
            found["averaged"] = self.averaged.n_averaged
        # For whoever uses the network alone.
        return found | {"scaling.mean": self.scaling.mean, "scaling.std": self.scaling.std}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from ``tensors`` of a training of the same configuration. Raises CorruptCheckpoint."""
        load_weights(checkpoint, self.network)
        parameters = [each for group in self.optimizer.param_groups for each in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in checkpoint.part("optimizer").items():
            index, entry = name.split(".")
            like = parameters[int(index)]
            # In the parameter's own memory format: fused kernels go by position in memory.
            placed = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape else tensor
            state.setdefault(int(index), {})[entry] = placed
        if self.config.optimizer == "rmsprop" and self.config.momentum:
            # Torch makes it with a new state alone, and the state may be of a trial without momentum.
            for position, entries in state.items():
                entries.setdefault("momentum_buffer", torch.zeros_like(parameters[position]))
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        if self.averaged is not None:
            load_weights(checkpoint, self.averaged.module, "ema")
            self.averaged.n_averaged.copy_(checkpoint.tensors["averaged"])


def scaling_for(config: ImageCnnConfig, split: Split) -> Scaling:
    """From pixels to what the network takes: by the training part, or as pretrained weights want it."""
    fixed = scaling_of(config)
    return split.scaling if fixed is None else Scaling(*fixed)


def load_weights(checkpoint: Checkpoint, network: nn.Module, part: str = "model") -> None:
    """Raises CorruptCheckpoint if the checkpoint is of another network."""
    try:
        network.load_state_dict(checkpoint.part(part))
    except RuntimeError as error:
        raise CorruptCheckpoint(checkpoint.path, f"does not fit the network of its configuration: {error}") from error
