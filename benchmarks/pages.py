"""What the dashboard's pages cost with many trials, beside what optuna-dashboard sends for the same trials.

    python -m benchmarks.pages [--trials 100000] [--peer-trials 10000] [--studies 500] [--runs 40] [--json FILE]

Each page is asked for over HTTP by a logged-in browser's cookie, one request at a time; the time is that of the whole
answer. optuna-dashboard draws its study page in the browser from one request that holds every trial: that request is
measured on the same Postgres, by its WSGI application without a network between, the first (cold) and the later ones.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any
from wsgiref.util import setup_testing_defaults

import httpx

from benchmarks.filled import fill_database, spec
from benchmarks.render import machine
from benchmarks.stats import quantile
from ladder.client import Client
from ladder.stack import LocalStack

PAGES: Mapping[str, str] = {
    "study list": "/",
    "overview": "/studies/crowd",
    "rungs": "/studies/crowd/rungs",
    "trials": "/studies/crowd/trials",
    "trials by value": "/studies/crowd/trials?order_by=-value",
    "trials by a param": "/studies/crowd/trials?order_by=params.lr",
    "trials by duration": "/studies/crowd/trials?order_by=-duration",
    "trials, filtered": "/studies/crowd/trials?state=pruned&where=params.lr:lt:0.001",
    "trials, page in the middle": "",
    "trial": "/studies/crowd/trials/5000",
    "params": "/studies/crowd/params",
    "timeline": "/studies/crowd/timeline",
    "events": "/studies/crowd/events",
    "config": "/studies/crowd/config",
}
KINDS = ("history", "curves", "parallel", "slice", "contour", "rank", "timeline", "edf", "importance")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one address: milliseconds (the median, the 95th percentile, the most) and bytes of the answer."""

    name: str
    p50_ms: float
    p95_ms: float
    most_ms: float
    size_bytes: int


def measure(name: str, ask: Callable[[], int], runs: int) -> Cost:
    ask()
    took: list[float] = []
    size = 0
    for _ in range(runs):
        began = time.perf_counter()
        size = ask()
        took.append(1000 * (time.perf_counter() - began))
    took.sort()
    return Cost(name, median(took), quantile(took, 0.95), took[-1], size)


def asking(browser: httpx.Client, path: str) -> Callable[[], int]:
    def ask() -> int:
        answer = browser.get(path)
        answer.raise_for_status()
        return len(answer.content)

    return ask


def ours(stack: LocalStack, trials: int, studies: int, runs: int) -> list[Cost]:
    """The pages and figures of a study with ``trials`` trials, among ``studies`` studies."""
    with Client(stack.url, stack.token) as client:
        for number in range(studies - 1):
            client.studies.create(spec(f"small-{number}", 10))
        made = client.studies.create(spec("crowd", trials))
    fill_database(stack.database_url.replace("+psycopg2", ""), made.id, trials)
    costs = []
    with httpx.Client(base_url=stack.url, timeout=60, headers={"Accept": "text/html"}) as browser:
        browser.post("/login", data={"token": stack.token}, follow_redirects=True).raise_for_status()
        api = "/api/v1/studies/crowd/trials?page_size=50&order_by=-value"
        middle = api
        for _ in range(20):
            middle = f"{api}&page_token={browser.get(middle).json()['next_page_token']}"
        for name, path in PAGES.items():
            costs.append(measure(name, asking(browser, path or middle), runs))
            print(f"{name}: p95 {costs[-1].p95_ms:.0f} ms", file=sys.stderr)
        for kind in KINDS:
            costs.append(
                measure(f"plot {kind}", asking(browser, f"/api/v1/studies/crowd/plots/{kind}"), max(3, runs // 8))
            )
            print(f"plot {kind}: p95 {costs[-1].p95_ms:.0f} ms", file=sys.stderr)
    return costs


def peer(stack: LocalStack, trials: int, runs: int) -> list[Cost]:
    """optuna-dashboard's one request for a study of so many complete trials with four reports each."""
    import optuna
    import optuna_dashboard

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    stack.postgres.create_database("optuna")
    url = stack.postgres.url("optuna")
    study = optuna.create_study(storage=url, study_name="crowd", direction="maximize")
    space: dict[str, optuna.distributions.BaseDistribution] = {
        "lr": optuna.distributions.FloatDistribution(1e-4, 0.5, log=True),
        "width": optuna.distributions.IntDistribution(16, 128, step=16),
        "optimizer": optuna.distributions.CategoricalDistribution(["sgd", "adamw", "rmsprop"]),
    }
    study.add_trials(
        [
            optuna.create_trial(
                params={"lr": 1e-3 + number % 97 / 1000, "width": 16 + 16 * (number % 8), "optimizer": "sgd"},
                distributions=space,
                value=number % 1009 / 1009,
                intermediate_values={step: 0.5 for step in (1, 3, 9, 27)},
            )
            for number in range(trials)
        ]
    )
    app = optuna_dashboard.wsgi(url)

    def ask() -> int:
        status: list[str] = []

        def start(code: str, headers: list[tuple[str, str]], *_: Any) -> None:
            status.append(code)

        environ: dict[str, Any] = {}
        setup_testing_defaults(environ)
        environ |= {"PATH_INFO": f"/api/studies/{study._study_id}", "QUERY_STRING": "after=0"}
        body = b"".join(app(environ, start))
        if not status[0].startswith("200"):
            raise RuntimeError(f"optuna-dashboard answered {status[0]}")
        return len(body)

    began = time.perf_counter()
    size = ask()
    first_ms = 1000 * (time.perf_counter() - began)
    cold = Cost(f"optuna-dashboard, {trials:,} trials, first", first_ms, first_ms, first_ms, size)
    return [cold, measure(f"optuna-dashboard, {trials:,} trials, later", ask, max(3, runs // 8))]


def markdown(setting: Mapping[str, Any], trials: int, costs: Sequence[Cost]) -> str:
    lines = [f"{json.dumps(setting)}", "", f"{trials:,} trials in the study.", ""]
    lines += ["| | p50 ms | p95 ms | most ms | kB |", "|---|--:|--:|--:|--:|"]
    for one in costs:
        figures = (one.p50_ms, one.p95_ms, one.most_ms, one.size_bytes / 1000)
        lines.append(f"| {one.name} | {' | '.join(f'{value:,.0f}' for value in figures)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--peer-trials", type=int, default=10_000)
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(arguments)
    setting = machine()
    home = Path(tempfile.mkdtemp(prefix="ladder-pages-"))
    try:
        with LocalStack(home, workers=0, settings_env={"LADDER_REQUESTS_PER_S": "100000"}) as stack:
            costs = ours(stack, options.trials, options.studies, options.runs)
            costs += peer(stack, options.peer_trials, options.runs)
    finally:
        shutil.rmtree(home)
    print(markdown(setting, options.trials, costs))
    if options.json is not None:
        options.json.write_text(json.dumps({"setting": setting, "costs": [asdict(one) for one in costs]}, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
