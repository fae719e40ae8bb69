"""Does bf16 cost accuracy? The same trainings in fp32 and in bf16, over many seeds.

    python -m benchmarks.precision --images FILE.npz [--seeds 10] [--epochs 10] [--train-images 10000] [--jobs 2]

For every seed the network of experiment E4 is trained twice, with the same initial weights and data order. bf16 may be
the default only where the mean difference of the final validation accuracy lies within 2 standard errors of 0
(``models/precision.py``). ``FILE.npz`` holds ``images`` uint8 [N, H, W] or [N, H, W, C] and ``labels``.
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, stdev

from benchmarks.render import machine
from workers.child import environment

ENTRIES = {
    "dataset": "npz",
    "architecture": "two_conv",
    "filters1": 16,
    "filters2": 64,
    "dense_units": 128,
    "dropout": 0.2,
    "optimizer": "adam",
    "lr": 1e-3,
    "batch_size": 64,
}
PRECISIONS = ("off", "bf16")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--train-images", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    setting = machine()
    os.environ.update(environment(os.environ, threads=1))  # of the processes that the pool spawns
    runs = list(product(range(options.seeds), PRECISIONS))
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        waiting = [
            pool.submit(train_once, options.images, amp, seed, options.epochs, options.train_images)
            for seed, amp in runs
        ]
        found = {}
        for run, one in zip(runs, waiting, strict=True):
            found[run] = one.result()
            print(f"seed {run[0]}, amp {run[1]}: {found[run]:.4f}", file=sys.stderr)
    print(json.dumps(setting))
    print(_markdown(found, options.seeds))
    if options.json is not None:
        plain = [{"seed": seed, "amp": amp, "val_acc": value} for (seed, amp), value in found.items()]
        options.json.write_text(json.dumps({"setting": setting, "runs": plain}, indent=1))
    return 0


def train_once(images: Path, amp: str, seed: int, epochs: int, train_images: int) -> float:
    """The validation accuracy after the last epoch."""
    from models.job import TrainJob
    from models.train import train

    config = {**ENTRIES, "data_path": images.name, "train_images": train_images, "amp": amp}
    job = TrainJob("image-cnn", config, seed, from_step=0, max_resource=epochs, resume=None, data_root=images.parent)
    return [result.metrics["val_acc"] for result in train(job)][-1]


def _markdown(found: dict[tuple[int, str], float], seeds: int) -> str:
    columns = {amp: [found[seed, amp] for seed in range(seeds)] for amp in PRECISIONS}
    differences = [bf16 - fp32 for fp32, bf16 in zip(columns["off"], columns["bf16"], strict=True)]
    lines = ["| precision | mean val_acc | standard deviation |", "| --- | --: | --: |"]
    lines += [
        f"| {'fp32' if amp == 'off' else amp} | {fmean(values):.4f} | {stdev(values):.4f} |"
        for amp, values in columns.items()
    ]
    error = stdev(differences) / math.sqrt(seeds)
    verdict = "within" if abs(fmean(differences)) <= 2 * error else "NOT within"
    mean = fmean(differences)
    lines += ["", f"bf16 - fp32: {mean:+.4f}, standard error {error:.4f}: {verdict} 2 standard errors of 0"]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
