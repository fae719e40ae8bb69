"""A trainer child without torch, which starts at once: the real loop of ``workers.trainer`` around a tiny trainer."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from models.job import BadData, Diverged, EpochResult, SavedFile, Setup, TrainJob, Watcher
from workers.trainer import main


class CorruptCheckpoint(Exception):
    """Named like the one of models.checkpoint."""


def train(job: TrainJob, watcher: Watcher | None = None) -> Iterator[EpochResult]:
    """Epochs of ``epoch_s``; ``<fault>_at`` names the epoch in which something goes wrong.

    It learns ``classes`` classes and ends of its own accord after ``finish_after`` epochs.
    """
    faults = {name.removesuffix("_at"): step for name, step in job.config.items() if name.endswith("_at")}
    if job.resume is not None and job.resume.read_bytes() != content(job.from_step):
        raise CorruptCheckpoint(str(job.resume))
    classes, last = job.config.get("classes", 0), job.config.get("finish_after", job.max_resource)
    if watcher is not None:
        watcher.progress(1, 2)
        split = job.config.get("split")
        watcher.started(Setup(split, tuple(f"class {label}" for label in range(classes))))
    for step in range(job.from_step + 1, last + 1):
        time.sleep(job.config.get("epoch_s", 0))
        for name, at in faults.items():
            if at == step:
                FAULTS[name](step)

        def save(path: Path, step: int = step) -> SavedFile:
            if job.config.get("full_from", 10**9) <= step <= job.config.get("full_to", 10**9):
                raise OSError(28, "No space left on device")
            path.write_bytes(content(step))
            return SavedFile(path, step, hashlib.sha256(content(step)).hexdigest(), len(content(step)))

        metrics = {"loss": 1 / step, "pid": float(os.getpid())}
        confusion = tuple((step,) * classes for _ in range(classes)) or None
        finished = "finish_after" in job.config and step == last
        yield EpochResult(step, metrics, job.config.get("says_s", 0.0), save, confusion, finished)


def content(step: int) -> bytes:
    return f"weights of step {step}".encode()


def _diverge(step: int) -> None:
    raise Diverged(step, {"loss": float("nan"), "acc": 0.1})


def _raise(step: int) -> None:
    sys.stderr.write("words before the end\n")
    raise RuntimeError(f"broken in epoch {step}")


def _bad_data(step: int) -> None:
    raise BadData("/data/cifar10/batch_1 is torn")


def _oom(step: int) -> None:
    raise MemoryError("no room")


def _kill(step: int) -> None:
    sys.stderr.write("words before the end\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def _exit(step: int) -> None:
    os._exit(3)


def _hang(step: int) -> None:
    time.sleep(10**6)


def _talk(step: int) -> None:
    sys.stdout.write(f"step {step} on stdout\nno end")
    sys.stderr.write(f"step {step} on stderr\n")


def _print(step: int) -> None:
    print('{"say": "parked", "run": 1}', flush=True)  # noqa: T201


def _leave(step: int) -> None:
    """Start a process that outlives its parent."""
    subprocess.Popen(["sleep", "1000"])


def _babble(step: int) -> None:
    descriptor = int(sys.argv[2])
    os.write(descriptor, b"\xff\x00 not json\n" * 5 + b'{"say": "epoch", "run": 1}\n' + b"[" * 70_000 + b"\n")


def _flood(step: int) -> None:
    for _ in range(200):
        os.write(int(sys.argv[2]), b"nonsense\n")
    time.sleep(10**6)


def _lie(step: int) -> None:
    line = b'{"say": "epoch", "run": %d, "step": 900, "metrics": {}, "seconds": 1.0}\n'
    for run in range(1, 50):
        os.write(int(sys.argv[2]), line % run)


FAULTS: dict[str, Callable[[int], None]] = {
    "diverge": _diverge,
    "raise": _raise,
    "bad_data": _bad_data,
    "oom": _oom,
    "kill": _kill,
    "exit": _exit,
    "hang": _hang,
    "print": _print,
    "talk": _talk,
    "leave": _leave,
    "babble": _babble,
    "flood": _flood,
    "lie": _lie,
}

if __name__ == "__main__":
    main(train)
