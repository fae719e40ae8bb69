"""Trials per hour of one machine for 1, 2, ... slots: the same trials, on real workers of a stack of its own.

    python -m benchmarks.slots [--slots 1,2] [--runs 3] [--trials 24] [--epochs N] [--json FILE]
    python -m benchmarks.slots --dataset fashion_mnist --data-root ../shared/data

The study trains the two-convolution network on digits, or on 10,000 images of Fashion-MNIST; seed and scheduler (every
trial is trained whole) make its trials the same in every run, which is checked. ``ladder worker --slots K`` gets the
cores shared by its slots as threads, its default. Before the clock starts, each slot has trained a trial. The time is
from the first claim to the last report, by the database's clock. The numbers of slots take turns within each run.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from api.schemas.trials import AttemptRead
from benchmarks.render import machine
from benchmarks.stats import Spread, spread
from ladder.client import Client
from ladder.stack import DRAIN_S, LocalStack
from workers.devices import threads_per_slot

LONGEST_STUDY = timedelta(minutes=60)
EPOCHS = {"digits": 20, "fashion_mnist": 3}
CONFIG: Mapping[str, Mapping[str, Any]] = {"digits": {}, "fashion_mnist": {"train_images": 10_000}}


@dataclass(frozen=True, slots=True)
class Measured:
    """One study: its trials per hour, and the parameters of its trials in the order of their numbers."""

    trials_per_h: float
    params: list[dict[str, Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=lambda text: [int(part) for part in text.split(",")], default=[1, 2])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--trials", type=int, default=24, help="a multiple of every number of slots")
    parser.add_argument("--dataset", choices=list(EPOCHS), default="digits")
    parser.add_argument("--data-root", type=Path, help="where Fashion-MNIST lies")
    parser.add_argument("--epochs", type=int, help="of each trial")
    parser.add_argument("--json", type=Path, help="write every run to this file")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up then, too
    setting = machine()
    spec = study(options.dataset, trials=options.trials, epochs=options.epochs or EPOCHS[options.dataset])
    rates: dict[int, list[float]] = defaultdict(list)
    params: list[dict[str, Any]] = []
    home = Path(tempfile.mkdtemp(prefix="ladder-slots-"))
    env = {} if options.data_root is None else {"LADDER_DATA_ROOT": str(options.data_root.absolute())}
    try:
        with LocalStack(home, workers=0, settings_env=env) as stack:
            for run in range(options.runs):
                for slots in options.slots:
                    found = measure(stack, spec, f"run-{run}-slots-{slots}", slots)
                    if params and found.params != params:
                        raise RuntimeError("the trials are not those of the first run: nothing could be compared")
                    params = found.params
                    rates[slots].append(found.trials_per_h)
                    print(f"run {run + 1}, {slots} slot(s): {found.trials_per_h:.0f} trials/h", file=sys.stderr)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(markdown(setting, spec, rates))
    if options.json is not None:
        options.json.write_text(json.dumps({"setting": setting, "study": spec, "trials_per_h": rates}, indent=1))
    return 0


def study(dataset: str, *, trials: int, epochs: int) -> dict[str, Any]:
    """Trials that cost the same: only what changes nothing about their work is searched."""
    return {
        "objectives": [{"metric": "val_acc", "direction": "maximize"}],
        "search_space": [{"name": "lr", "type": "float", "low": 1e-4, "high": 1e-2, "log": True}],
        "sampler": {"type": "random", "seed": 0},
        "scheduler": {"type": "fifo", "max_resource": epochs},
        "checkpoints": {"every": epochs},
        "trainer": {
            "name": "image-cnn",
            "config": {"dataset": dataset, "architecture": "two_conv", "batch_size": 64, **CONFIG[dataset]},
        },
        "budget": {"max_trials": trials},
    }


def measure(stack: LocalStack, spec: Mapping[str, Any], name: str, slots: int) -> Measured:
    """Run the study on a worker with so many slots. Raises RuntimeError if a trial was not trained whole at once."""
    env = {"LADDER_QUEUE": name, "LADDER_SLOTS": str(slots), "LADDER_THREADS": str(threads_per_slot(slots))}
    worker = stack.spawn_worker(name=name, env=env)
    try:
        with Client(stack.url, stack.token) as client:
            _train(client, spec, f"{name}-warm-up", queue=name, trials=slots)
            trained = _train(client, spec, name, queue=name, trials=spec["budget"]["max_trials"])
            trials = sorted(client.studies.trials(trained), key=lambda trial: trial.number)
            attempts = [one for trial in trials for one in client.studies.attempts(trained, trial.number)]
    finally:
        worker.stop(timeout_s=2 * DRAIN_S)
        stack.workers.remove(worker)
    if [one.end_class for one in attempts] != ["complete"] * len(trials):
        raise RuntimeError(f"every trial must be trained whole in one attempt, got {[a.end_class for a in attempts]}")
    return Measured(3600 * len(trials) / _wall_s(attempts), [trial.params for trial in trials])


def _train(client: Client, spec: Mapping[str, Any], name: str, *, queue: str, trials: int) -> str:
    trainer = {**spec["trainer"], "resources": {"queue": queue}}
    own = {**spec, "name": name, "trainer": trainer, "budget": {"max_trials": trials}}
    client.studies.create(own).wait(timeout=LONGEST_STUDY)
    return name


def _wall_s(attempts: Sequence[AttemptRead]) -> float:
    ends = [attempt.ended_at for attempt in attempts if attempt.ended_at is not None]
    return (max(ends) - min(attempt.started_at for attempt in attempts)).total_seconds()


def markdown(setting: Mapping[str, Any], spec: Mapping[str, Any], rates: Mapping[int, Sequence[float]]) -> str:
    figures = {slots: spread(values) for slots, values in rates.items()}
    base = figures[min(figures)]
    config = spec["trainer"]["config"]
    runs, fewest = len(rates[min(rates)]), min(rates)
    lines = [
        f"{setting['date']}; {setting['cpu']}, {setting['cores']} cores, load before {setting['load_before']}.",
        f"{spec['budget']['max_trials']} trials of {spec['scheduler']['max_resource']} epochs, {config}.",
        "",
        f"| slots | threads each | trials/h, median of {runs} (least - most) | to {fewest} slot(s) | |",
        "|--:|--:|--:|--:|---|",
    ]
    return "\n".join([*lines, *(_row(slots, one, base) for slots, one in sorted(figures.items()))])


def _row(slots: int, one: Spread, base: Spread) -> str:
    ratio = one.median / base.median
    said = "" if one is base else "pass" if ratio >= 1 else "**miss**"
    rates = f"{one.median:.0f} ({one.least:.0f} - {one.most:.0f})"
    return f"| {slots} | {threads_per_slot(slots)} | {rates} | {ratio:.2f} | {said} |"


if __name__ == "__main__":
    raise SystemExit(main())
