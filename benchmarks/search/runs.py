"""Runs and their cache: a line of JSON for each, so that only what is missing is computed."""

import json
import multiprocessing
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.search.methods import METHODS, run_method
from benchmarks.search.tasks import SAMPLE, Scale, load_task, scale
from benchmarks.search.trace import Trace

# Small matrices: a second thread only takes the core of another run.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be run. ``budget`` is in epochs of all trials together."""

    method: str
    task: str
    seed: int
    budget: int
    workers: int

    @property
    def key(self) -> str:
        """All that decides the result but the code: a method that is told something else is another."""
        method = METHODS[self.method]
        named = {"side": method.side, "config": method.config, "task": self.task, "seed": self.seed}
        return json.dumps(named | {"budget": self.budget, "workers": self.workers}, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a job. ``seconds`` of CPU that it took here, not those of the simulated workers."""

    task: str
    budget: int
    trace: Trace
    trials: int
    seconds: float


class Cache:
    """The runs in a directory, a file for each method."""

    def __init__(self, folder: Path) -> None:
        """Reads what is there. Raises ValueError if a line is no run."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._runs: dict[str, Run] = {}
        for path in sorted(folder.glob("*.jsonl")):
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                self._runs[entry["key"]] = _run_of(entry)

    def find(self, job: Job) -> Run | None:
        return self._runs.get(job.key)

    def best_losses(self) -> dict[str, float]:
        """The best loss that any run has found on each task."""
        best: dict[str, float] = {}
        for run in self._runs.values():
            loss = run.trace[-1][1] if run.trace else float("inf")
            best[run.task] = min(best.get(run.task, loss), loss)
        return best

    def add(self, job: Job, run: Run) -> None:
        self._runs[job.key] = run
        name = re.sub(r"[^a-z0-9]+", "_", job.method.lower())
        entry = {"key": job.key, "task": run.task, "budget": run.budget, "trials": run.trials}
        line = json.dumps(entry | {"seconds": round(run.seconds, 3), "trace": run.trace})
        # One write of a whole line: two benchmarks may fill the same cache.
        with (self._folder / f"{name}.jsonl").open("a") as file:
            file.write(line + "\n")


def scales(folder: Path, data: Path, tasks: Sequence[str]) -> dict[str, Scale]:
    """The scale of each task, kept in the folder too: the sample takes seconds for a task."""
    path = folder / f"scales_{SAMPLE}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    found = {task: Scale(**known[task]) if task in known else scale(data, task) for task in tasks}
    if found.keys() - known.keys():
        # Whole or not at all: another benchmark may be reading.
        whole = path.with_suffix(f".{os.getpid()}")
        whole.write_text(json.dumps(known | {task: asdict(one) for task, one in found.items()}, indent=1))
        whole.replace(path)
    return found


def run_missing(
    jobs: Sequence[Job],
    cache: Cache,
    data: Path,
    *,
    processes: int,
    fresh: bool = False,
    progress: Callable[[str], None],
) -> None:
    """Run what the cache lacks, or everything if ``fresh``, several at a time; each result is kept at once."""
    missing = [job for job in jobs if fresh or cache.find(job) is None]
    progress(f"{len(jobs)} runs, {len(jobs) - len(missing)} of them known")
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    done = 0
    # Ladder's adapter replaces functions of Optuna's: the two never share a process.
    for ours in (True, False):
        part = [job for job in missing if (METHODS[job.method].side == "ladder") is ours]
        if not part:
            continue
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
            waiting = {pool.submit(run_job, job, data): job for job in part}
            try:
                for job, run in _ended(waiting):
                    cache.add(job, run)
                    done += 1
                    progress(f"{done}/{len(missing)} {job.method}, {job.task}, seed {job.seed}: {run.seconds:.1f} s")
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def run_job(job: Job, data: Path) -> Run:
    """One run, in this process."""
    task = load_task(data, job.task)
    if task.budget != job.budget:
        raise ValueError(f"{job.task} has a budget of {task.budget} epochs, got {job.budget}")
    began = time.process_time()
    outcome = run_method(METHODS[job.method], task, seed=job.seed, workers=job.workers)
    return Run(job.task, job.budget, outcome.trace, outcome.trials, time.process_time() - began)


def _ended(waiting: dict[Future[Run], Job]) -> Iterable[tuple[Job, Run]]:
    for future in as_completed(waiting):
        yield waiting[future], future.result()


def _run_of(entry: dict[str, Any]) -> Run:
    trace = [(int(epochs), float(loss)) for epochs, loss in entry["trace"]]
    return Run(entry["task"], entry["budget"], trace, entry["trials"], entry["seconds"])
