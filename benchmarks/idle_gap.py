"""How long a worker's device stands still between the end of one trial and the first batch of the next.

    python -m benchmarks.idle_gap [--workers 1,2] [--study examples/digits-asha.yaml] [--json FILE]

Read from the attempt records alone: an attempt begins with its claim, ``setup_s`` later its first batch, and ends with
the report that ended it; all but ``setup_s`` is the database's clock. The first gap of each worker is left out: its
trainer is not warm yet. Not in the records is the way of the claim's answer to the worker, a few milliseconds.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from api.schemas.trials import AttemptRead
from benchmarks.render import machine
from benchmarks.stats import quantile
from ladder.client import Client
from ladder.specfile import parse as parse_spec
from ladder.stack import LocalStack

TARGET_MS = 60.0
LONGEST_STUDY = timedelta(minutes=15)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=lambda text: [int(part) for part in text.split(",")], default=[1, 2])
    parser.add_argument("--study", type=Path, default=Path("examples/digits-asha.yaml"))
    parser.add_argument("--json", type=Path, help="write the gaps to this file")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up then, too
    setting = machine()
    measured: dict[int, list[float]] = {}
    for workers in options.workers:
        attempts = run_study(options.study, workers)
        measured[workers] = sorted(gaps_ms(attempts))
        print(f"{workers} worker(s): {len(attempts)} attempts, {len(measured[workers])} gaps", file=sys.stderr)
    print(markdown(setting, measured))
    if options.json is not None:
        options.json.write_text(json.dumps({"setting": setting, "gaps_ms": measured}, indent=1))
    return 0


def run_study(file: Path, workers: int) -> list[AttemptRead]:
    """All attempts of the study that ``file`` describes, run by so many real workers on a stack of its own."""
    spec = parse_spec(file.read_text(), str(file)).data
    home = Path(tempfile.mkdtemp(prefix="ladder-idle-gap-"))
    try:
        with LocalStack(home, workers=workers) as stack:
            stack.wait_workers()
            with Client(stack.url, stack.token) as client:
                study = client.studies.create(spec).wait(timeout=LONGEST_STUDY)
                return [
                    attempt
                    for trial in client.studies.trials(study.name)
                    for attempt in client.studies.attempts(study.name, trial.number)
                ]
    finally:
        shutil.rmtree(home, ignore_errors=True)


def gaps_ms(attempts: Iterable[AttemptRead]) -> list[float]:
    """Milliseconds from an attempt's end to the first batch of its worker's next one, without each worker's first."""
    by_worker: dict[str, list[AttemptRead]] = defaultdict(list)
    for attempt in attempts:
        by_worker[attempt.worker].append(attempt)
    return [
        1000 * (first_batch - before.ended_at).total_seconds()
        for own in by_worker.values()
        for before, after in list(pairwise(sorted(own, key=lambda attempt: attempt.started_at)))[1:]
        if before.ended_at is not None and (first_batch := _first_batch(after)) is not None
    ]


def _first_batch(attempt: AttemptRead) -> datetime | None:
    """None for an attempt that ended before it trained."""
    return None if attempt.setup_s is None else attempt.started_at + timedelta(seconds=attempt.setup_s)


def markdown(setting: dict[str, object], measured: dict[int, list[float]]) -> str:
    lines = [
        f"{setting['date']}; {setting['cpu']}, {setting['cores']} cores, load before {setting['load_before']}.",
        "",
        "| workers | gaps | median ms | p90 ms | wanted | |",
        "|--:|--:|--:|--:|--:|---|",
    ]
    for workers, gaps in measured.items():
        median, p90 = quantile(gaps, 0.5), quantile(gaps, 0.9)
        said = "pass" if median <= TARGET_MS else "**miss**"
        lines.append(f"| {workers} | {len(gaps)} | {median:.1f} | {p90:.1f} | median <= {TARGET_MS:g} | {said} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
