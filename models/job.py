"""What passes between whoever runs a trial and the training code: plain values, no torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

ConfigValue = float | int | str | bool


class InvalidConfig(ValueError):
    """A trainer's configuration asks for what cannot be: ``field`` names the entry at fault."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class BadData(Exception):
    """A data set's file is missing, torn or not what it should be. The message names the path."""


class Diverged(Exception):
    """The training loss of an epoch is not finite: a result of the configuration, not a fault.

    ``step`` is the epoch; ``metrics`` are that epoch's, non-finite ones included.
    """

    def __init__(self, step: int, metrics: Mapping[str, float]) -> None:
        super().__init__(f"the loss of epoch {step} is not finite")
        self.step = step
        self.metrics = dict(metrics)


@dataclass(frozen=True, slots=True)
class TrainJob:
    """One claim of a trial. Steps are epochs and count from 1; ``from_step`` epochs are already trained.

    ``config`` is the trainer's configuration with the sampled params merged in. ``max_resource`` is the length that
    schedules are laid out over. ``resume`` is the checkpoint file of ``from_step``, None when starting anew. With
    ``inherits`` it is another trial's, whose seed and mutable entries may differ (population based training).
    ``cache_root`` is where decoded images may be kept between jobs, None for nowhere. ``split_sha256`` is the split
    that the study's other trials had, None for the first. ``final`` is what a confirmation's last trial learns from: it
    alone breaks the seal of the test part, and its last step reports ``test_acc`` and its like.
    """

    trainer: str
    config: Mapping[str, Any]
    seed: int
    from_step: int
    max_resource: int
    resume: Path | None
    data_root: Path
    threads: int = 1
    inherits: bool = False
    cache_root: Path | None = None
    split_sha256: str | None = None
    final: Literal["train", "train_and_validation"] | None = None


@dataclass(frozen=True, slots=True)
class Setup:
    """What a job found when it was set up: which split it trains on, None for trainers without data."""

    split_sha256: str | None = None
    class_names: tuple[str, ...] = ()


class Watcher(Protocol):
    """Whoever wants to know how a job gets on between its steps."""

    def progress(self, done: int, total: int) -> None:
        """``done`` of ``total`` images are decoded, or epochs trained; called at each of them: it has to be quick."""

    def started(self, setup: Setup) -> None:
        """All is set up and the first batch starts."""


def telling(watcher: Watcher | None, total: int) -> Callable[[int], None]:
    """What takes how many of ``total`` are done to the watcher, if there is one."""

    def tell(done: int) -> None:
        if watcher is not None:
            watcher.progress(done, total)

    return tell


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A checkpoint that is safely on disk."""

    path: Path
    step: int
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class EpochResult:
    """One finished epoch. ``save`` writes the state as of its end; call it before asking for the next epoch.

    ``save(path)`` writes ``path`` and, beside it, its manifest ``path`` + ``.json``: temp file, fsync, rename, fsync of
    the directory, so that a torn file is never found under its name. ``confusion`` counts the validation images by
    [true class][predicted class]. ``finished``: the trainer ends here of its own accord, no step will follow.
    """

    step: int
    metrics: Mapping[str, float]
    seconds: float
    save: Callable[[Path], SavedFile]
    confusion: tuple[tuple[int, ...], ...] | None = None
    finished: bool = False
