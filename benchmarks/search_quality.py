"""Whole search methods side by side on real learning curves, at the same budget of epochs with asynchronous workers.

    python -m benchmarks.search_quality --data ../shared/data/hpo --tasks choice --seeds 5 --out results

Needs ``benchmarks/search_requirements.txt``. Results are kept in ``--out``: what is there is not run again.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.search.figures import Row, table
from benchmarks.search.methods import METHODS
from benchmarks.search.render import as_json, markdown
from benchmarks.search.runs import Cache, Job, Run, run_missing, scales
from benchmarks.search.tasks import Scale, load_task, task_names

DATA = Path(__file__).resolve().parents[2] / "shared/data/hpo"


def main(argv: Sequence[str] | None = None) -> None:
    asked = _arguments(argv)
    tasks = task_names(asked.tasks) if asked.tasks in ("choice", "held_out", "all") else asked.tasks.split(",")
    methods = list(METHODS) if asked.methods == "all" else asked.methods.split(",")
    if unknown := [method for method in methods if method not in METHODS]:
        sys.exit(f"unknown methods {unknown}, want some of {', '.join(METHODS)}")
    budgets = {task: load_task(asked.data, task).budget for task in tasks}
    jobs = [
        Job(method, task, seed, budgets[task], asked.workers)
        for method in methods
        for task in tasks
        for seed in range(asked.seeds)
    ]
    cache = Cache(asked.out)
    began = time.monotonic()

    def progress(line: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True)

    run_missing(jobs, cache, asked.data, processes=asked.jobs, fresh=asked.fresh, progress=progress)
    rows = _rows(methods, tasks, jobs, cache, scales(asked.out, asked.data, tasks))
    about = (
        f"{len(tasks)} tasks ({asked.tasks}), {asked.seeds} seeds, {asked.workers} asynchronous workers, "
        f"{len(methods)} methods; means with 95 % bootstrap intervals over tasks."
    )
    print(text := markdown(rows, about))
    if asked.markdown:
        asked.markdown.write_text(text)
    if asked.json:
        asked.json.write_text(json.dumps(as_json(rows, about), indent=1) + "\n")


def _rows(methods: list[str], tasks: list[str], jobs: list[Job], cache: Cache, sampled: dict[str, Scale]) -> list[Row]:
    runs = [_known(cache, job) for job in jobs]
    found = cache.best_losses()
    # A method may find what a large random sample missed.
    best = [Scale(min(sampled[task].best, found[task]), sampled[task].reference) for task in tasks]
    return table(methods, tasks, runs, best)


def _known(cache: Cache, job: Job) -> Run:
    run = cache.find(job)
    assert run is not None, job  # all were run just now
    return run


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search_quality", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the tables (default: %(default)s)")
    parser.add_argument("--tasks", default="choice", help="choice, held_out, all, or names by commas")
    parser.add_argument("--methods", default="all", help="names by commas: " + ", ".join(METHODS))
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0, 1, … (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=4, help="simulated workers (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--fresh", action="store_true", help="run everything again, for code that has changed")
    parser.add_argument("--markdown", type=Path, help="write the table here")
    parser.add_argument("--json", type=Path, help="write all figures here")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
