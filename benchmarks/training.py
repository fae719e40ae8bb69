"""Images/s of the training loop beside what people write by hand: the same network, batch and threads.

    python -m benchmarks.training [--threads 1,2] [--batches 64,256] [--runs 5] [--images FILE.npz] [--json FILE]

The network is the two-convolution network of experiment E4 (32 and 32 filters, 128 units) on images of 28 x 28 px:
those of ``--images`` (``images`` uint8 [N, 28, 28] and ``labels``), else random ones, which cost the same. Each
measurement is a process of its own (``benchmarks.loops``), the sides take turns; medians, least and greatest.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.loops import SIDES
from benchmarks.render import machine
from benchmarks.stats import Spread, spread
from workers.child import environment

IMAGES = 12_000
Key = tuple[int, int, str]  # threads, batch, side


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=_numbers, default=[1, 2])
    parser.add_argument("--batches", type=_numbers, default=[64, 256])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    setting = machine()
    with tempfile.TemporaryDirectory(prefix="ladder-training-") as folder:
        _write_images(Path(folder), options.images)
        rates: dict[Key, list[float]] = defaultdict(list)
        for threads, batch in product(options.threads, options.batches):
            for turn, side in product(range(options.runs), SIDES):
                told = _measure(side, Path(folder), threads, batch)
                rates[threads, batch, side].append(told["images_per_s"])
                setting |= told["device"]
                print(f"run {turn + 1}, {threads} threads, batch {batch}: {side} {told}", file=sys.stderr)
    figures = {key: spread(values) for key, values in rates.items()}
    print(_markdown(setting | {"runs": options.runs}, figures))
    if options.json is not None:
        plain = {"/".join(map(str, key)): values for key, values in rates.items()}
        options.json.write_text(json.dumps({"setting": setting, "images_per_s": plain}, indent=1))
    return 0


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _write_images(folder: Path, source: Path | None) -> None:
    if source is not None:
        with np.load(source) as arrays:
            images, labels = arrays["images"][:IMAGES], arrays["labels"][:IMAGES]
    else:
        draw = np.random.default_rng(0)
        images, labels = draw.integers(0, 256, (IMAGES, 28, 28), np.uint8), np.arange(IMAGES) % 10
    np.savez(folder / "images.npz", images=images, labels=labels)


def _measure(side: str, folder: Path, threads: int, batch: int) -> dict[str, Any]:
    # What is written by hand runs in an environment that nobody tuned, but for the number of threads.
    plain = dict(os.environ) | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    env = plain if side == "DataLoader" else {**plain, **environment(os.environ, threads)}
    command = [sys.executable, "-m", "benchmarks.loops", side, str(folder), str(threads), str(batch)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{side} ended with {done.returncode}: {done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _markdown(setting: Mapping[str, Any], figures: Mapping[Key, Spread]) -> str:
    lines = [", ".join(f"{name} {value}" for name, value in setting.items()), ""]
    lines += ["| threads | batch | " + " | ".join(SIDES) + " | ladder / DataLoader | ladder / tensor |"]
    lines += ["|" + " --: |" * (len(SIDES) + 4)]
    for threads, batch in dict.fromkeys((threads, batch) for threads, batch, _ in figures):
        row = [figures[threads, batch, side] for side in SIDES]
        cells = [f"{one.median:,.0f} ({one.least:,.0f} to {one.most:,.0f})" for one in row]
        ours = row[-1].median
        ratios = [f"{ours / one.median:.2f}" for one in row[:-1]]
        lines.append(f"| {threads} | {batch} | {' | '.join([*cells, *ratios])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
