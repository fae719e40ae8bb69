"""Trials per second through the control plane, beside Optuna's on the same Postgres and the same Redis.

    python -m benchmarks.control_plane [--quick] [--json FILE]

What a trial is on each side, and why the comparison is fair, stands in benchmarks/README.md.
"""

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from uuid import UUID

import psycopg2

from benchmarks import ladder_side, peers, render
from benchmarks.bars import bars
from benchmarks.cell import SIDES, Cell, Window, measure
from benchmarks.stats import Figures, Run, run_of
from ladder.stack import LocalStack
from tests.audit import audit


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up then, too
    setting = render.setting(options)
    cells = plan(options)
    runs: dict[Cell, list[Run]] = {cell: [] for cell in cells}
    home = Path(tempfile.mkdtemp(prefix="ladder-benchmark-"))
    try:
        with LocalStack(home, workers=0, api_replicas=options.api_replicas) as stack:
            bench = Bench(stack, options)
            for turn in range(options.runs):
                for cell in cells:
                    run = bench.run(cell)
                    runs[cell].append(run)
                    print(render.progress(turn, cell, run), file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    figures = [Figures(cell, tuple(done)) for cell, done in runs.items()]
    verdicts = bars(figures)
    print(render.markdown(setting, figures, verdicts))
    if options.json is not None:
        options.json.write_text(render.as_json(setting, figures, verdicts))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    def words(text: str) -> list[str]:
        return text.split(",")

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short run of W=32 at size 200, unless said otherwise")
    parser.add_argument("--bars", action="store_true", help="only the cells that the bars need")
    parser.add_argument("--samplers", type=words, default=["random", "tpe"])
    parser.add_argument("--workers", type=numbers, help="1,8,32")
    parser.add_argument("--sizes", type=numbers, help="finished trials at the start: 100,200,1000,5000")
    parser.add_argument("--runs", type=int, help="3")
    parser.add_argument("--seconds", type=float, help="measured time of a cell: 8")
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds that all workers run before it")
    parser.add_argument("--only", type=words, default=list(SIDES), help="ladder, rdb, journal")
    parser.add_argument("--api-replicas", type=int, default=1)
    parser.add_argument(
        "--audit", action="store_true", help="replay all decisions of a Ladder cell after it; minutes at size 5000"
    )
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--profile", type=Path, help="record Ladder's processes with py-spy during its cells")
    options = parser.parse_args(arguments)
    usual = (("workers", [1, 8, 32], [32]), ("sizes", [100, 200, 1000, 5000], [200]), ("runs", 3, 1), ("seconds", 8, 4))
    for name, whole, quick in usual:
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else whole)
    return options


def plan(options: argparse.Namespace) -> list[Cell]:
    """The cells of one round: the sides take turns, so that what else the machine does falls on all of them."""
    every = product(options.samplers, options.sizes, options.workers, options.only)
    cells = [Cell(side, sampler, workers, size) for sampler, size, workers, side in every]
    if options.bars:
        most = max(options.workers)
        cells = [
            cell
            for cell in cells
            if (cell.size == 200 and (cell.side == "ladder" or cell.workers == most))
            or (cell.side == "ladder" and cell.size in (100, 5000) and cell.workers in (1, most))
        ]
    return cells


class Bench:
    """Runs cells on one stack."""

    def __init__(self, stack: LocalStack, options: argparse.Namespace) -> None:
        self._stack = stack
        self._options = options
        self._templates = peers.Templates(stack)
        dsn = f"host={stack.postgres.socket_dir} user=ladder dbname=ladder"
        self._ladder = ladder_side.Deployment(tuple(stack.urls), stack.token, stack.worker_token, dsn)

    def run(self, cell: Cell) -> Run:
        if cell.side == "ladder":
            target = ladder_side.prepare(self._ladder, cell)
            self._settle()
            with self._profiled(cell):
                window = self._measure(cell, ladder_side.SimulatedWorker, target)
            ladder_side.finish(self._ladder, target)
            if self._options.audit:
                self._audit(target.study)
            return run_of(window)
        copy = self._templates.prepare(cell)
        self._settle()
        window = self._measure(cell, peers.OptunaWorker, copy)
        self._templates.finish(copy)
        return run_of(window)

    def _measure(self, cell: Cell, runner: type, target: object) -> Window:
        options = self._options
        return measure(cell.workers, runner, (target,), warm_up_s=options.warm_up, seconds=options.seconds)

    def _audit(self, study: UUID) -> None:
        found = audit(self._stack.database_url, study)
        # Simulated workers report at rungs only: that the steps between are not accounted for is how it should be.
        violations = [one for one in found if "I4: the accounted steps are" not in one]
        if violations:
            raise RuntimeError("\n".join([f"{len(violations)} violations", *violations[:10]]))

    def _settle(self) -> None:
        """Write out what the preparation left and refresh the planner's statistics, before either side is measured."""
        connection = psycopg2.connect(self._ladder.dsn)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE")
                cursor.execute("CHECKPOINT")
        finally:
            connection.close()

    @contextmanager
    def _profiled(self, cell: Cell) -> Iterator[None]:
        """Record the API and control while a cell runs, one file each, if that was asked for and py-spy is there."""
        wanted: Path | None = self._options.profile
        py_spy = shutil.which("py-spy")
        if wanted is None or py_spy is None:
            yield
            return
        wanted.parent.mkdir(parents=True, exist_ok=True)
        recorders = []
        for process in [*self._stack.api, *self._stack.control]:
            file = wanted.with_name(f"{wanted.stem}-{cell.sampler}-{cell.workers}-{cell.size}-{process.name}.txt")
            command = [py_spy, "record", "--pid", str(process.pid), "--format", "raw", "--rate", "200", "--nonblocking"]
            command += ["--duration", "3600", "--output", str(file)]
            recorders.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        try:
            yield
        finally:
            for recorder in recorders:
                recorder.send_signal(signal.SIGINT)  # it writes the file then
                recorder.wait(timeout=30)


if __name__ == "__main__":
    raise SystemExit(main())
