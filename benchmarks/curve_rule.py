"""What the curve rule saves and what it costs, on real learning curves of convolutional networks (DeepOBS).

    python -m benchmarks.curve_rule /work/shared/data/hpo/deepobs_cnn.npz

The runs of a problem come one after the other in a random order, each is judged by the shipped rule and all share a
rung log. Printed per problem, over several orders: epochs saved against training every run to its end, how often the
run that ends best of all was stopped, how much worse the best complete run is, and the processor time of one
evaluation (a busy machine takes more wall time). The rule's drift was chosen on these curves: its savings elsewhere
may differ.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpo.schedulers.base import RungEntry
from hpo.schedulers.rules.curve import CurveRule
from hpo.schedulers.rung_log import MemoryRungLog
from hpo.spec.pruners import CurvePruner

PROBLEMS = ("fmnist_2c2d", "cifar10_3c3d", "cifar100_allcnnc", "svhn_wrn164")
LANE = -1


def judge(curves: NDArray[np.float64], order: NDArray[np.int64], rule: CurveRule) -> tuple[int, set[int], list[float]]:
    """Epochs spent, the runs that were stopped, and CPU seconds of each evaluation. ``curves``: loss [run, epoch]."""
    log, stopped, seconds, spent = MemoryRungLog(), set[int](), list[float](), 0
    for seq, run in enumerate(order.tolist()):
        past: list[tuple[int, float]] = []
        for rung, resource in enumerate(rule.levels):
            entry = RungEntry(run, LANE, rung, float(curves[run, resource - 1]), seq)
            began = time.process_time()
            stop = rung < len(rule.levels) - 1 and rule.stops(entry, past, log)
            if log.count(LANE, len(rule.levels) - 1) and len(past) + 1 >= rule.min_points:
                seconds.append(time.process_time() - began)
            log.add(entry, waiting=False)
            past.append((resource, entry.loss))
            if stop:
                stopped.add(run)
                break
        spent += past[-1][0]
    return spent, stopped, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--orders", type=int, default=10)
    parser.add_argument("--looks", type=int, default=20, help="looks at a whole run")
    parser.add_argument("--min-chance", type=float, default=CurvePruner().min_chance)
    args = parser.parse_args()
    print("problem            epochs saved    best run stopped   accuracy lost (mean, max)   CPU ms median, p99")
    with np.load(args.path) as data:
        for problem in PROBLEMS:
            curves = 1 - np.nan_to_num(data[f"{problem}_test_acc"][:, 1:].astype(float), nan=0.0)
            n_runs, n_epochs = curves.shape
            step = max(1, n_epochs // args.looks)
            rule = CurveRule(CurvePruner(grace=step, interval=step).levels(n_epochs), args.min_chance)
            best, saved, lost, missed, seconds = int(curves[:, -1].argmin()), [], [], 0, list[float]()
            for seed in range(args.orders):
                spent, stopped, took = judge(curves, np.random.default_rng(seed).permutation(n_runs), rule)
                saved.append(1 - spent / (n_runs * n_epochs))
                lost.append(min(curves[run, -1] for run in range(n_runs) if run not in stopped) - curves[best, -1])
                missed += best in stopped
                seconds += took
            print(
                f"{problem:17}  {np.mean(saved):6.1%} ± {np.std(saved):5.1%}   {missed:3} of {args.orders:<3}"
                f"         {np.mean(lost):8.4f} {np.max(lost):8.4f}        "
                f"  {1e3 * np.median(seconds):6.2f} {1e3 * np.percentile(seconds, 99):6.2f}"
            )


if __name__ == "__main__":
    main()
