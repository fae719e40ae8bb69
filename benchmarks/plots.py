"""Each figure of a study of 100,000 trials over HTTP: time and bytes; and Optuna's own on 2,000 trials in memory.

    python -m benchmarks.plots [--size 100000] [--runs 5] [--peer-size 2000]

Ladder's side is the whole way of a request to a running stack, without a stored answer (no If-None-Match). Optuna's is
its function and ``to_json`` on a study that is in memory already: what a service would have to send.
"""

import argparse
import http.client
import json
import math
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psutil
import psycopg2

from benchmarks import filled
from benchmarks.render import machine
from ladder.stack import LocalStack

PLOTS = ("history", "curves", "parallel", "slice", "contour", "rank", "timeline", "edf", "pareto", "hypervolume",
         "importance")  # fmt: skip
OTHERS = {
    "importance ped_anova": "/studies/two/importance",
    "compare 2 studies": "/plots/compare?s=one,two&x=epochs",
    "compare 20 trials": "/plots/compare?t=" + ",".join(f"two/{9 * at}" for at in range(20)),
}
LIMIT_S, LIMIT_BYTES = 2.0, 2_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peer-size", type=int, default=2_000, help="0: without Optuna's own functions")
    options = parser.parse_args(arguments)
    setting = machine()
    print(f"{setting['date']}; {setting['cpu']}, {setting['cores']} cores, load before {setting['load_before']};")
    home = Path(tempfile.mkdtemp(prefix="ladder-benchmark-"))
    try:
        with LocalStack(home, workers=0) as stack:
            missed = _ladder(stack, options.size, options.runs)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if options.peer_size:
        _optuna(options.peer_size, options.runs)
    return missed


def _ladder(stack: LocalStack, size: int, runs: int) -> int:
    """Returns how many figures were over a limit."""
    api = _Api(stack.urls[0], stack.token)
    studies: dict[str, dict[str, Any]] = {
        "one": {},
        "two": filled.TWO_OBJECTIVES | filled.CONSTRAINED,
        "three": filled.TWO_OBJECTIVES,
    }
    made = {name: api.send("POST", "/studies", filled.spec(name, size, **changes)) for name, changes in studies.items()}
    connection = psycopg2.connect(f"host={stack.postgres.socket_dir} user=ladder dbname=ladder")
    try:
        for name, study in made.items():
            bound = 6.0 if name == "two" else math.inf
            with connection, connection.cursor() as cursor:
                filled.fill(cursor.execute, UUID(study["id"]), size, several=name != "one", bound=bound)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
            cursor.execute("CHECKPOINT")
    finally:
        connection.close()
    api.connect()  # anew: the server has closed the idle connection
    paths = {f"{plot} ({name})": f"/studies/{name}/plots/{plot}" for name in ("one", "two") for plot in PLOTS}
    print(f"\n{size} trials; ms, median of {runs} runs (least to most) after the first, which loads plotly;")
    print("CPU: of the API process, mean; KB of the answer")
    process = psutil.Process(stack.api[0].pid)
    missed = 0
    for name, path in (paths | OTHERS).items():
        first_ms, _ = api.timed(path)
        before = process.cpu_times()
        took = [api.timed(path) for _ in range(runs)]
        after = process.cpu_times()
        cpu_ms = (after.user + after.system - before.user - before.system) * 1000 / runs
        sizes = {len(body) for _, body in took}
        meta = json.loads(took[0][1]).get("meta", {})
        over = max(ms for ms, _ in took) > LIMIT_S * 1000 or max(sizes) > LIMIT_BYTES
        missed += over
        shown = f"{meta['shown']} of {meta['n_trials']}" if meta.get("shown") else str(meta.get("reason") or "")[:40]
        cells = [
            f"{name:<24}{_spread([one for one, _ in took])}  CPU {cpu_ms:4.0f}  first {first_ms:5.0f}",
            f"{max(sizes) / 1000:8.1f} KB  {shown}" + ("  OVER" if over else ""),
        ]
        print("  ".join(cells))
    return missed


class _Api:
    def __init__(self, url: str, token: str) -> None:
        host = urlsplit(url).netloc
        self._connection = http.client.HTTPConnection(host, timeout=60)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def connect(self) -> None:
        self._connection.close()
        self._connection.connect()

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return json.loads(self._request(method, path, body))

    def timed(self, path: str) -> tuple[float, bytes]:
        began = time.perf_counter()
        body = self._request("GET", path, None)
        return (time.perf_counter() - began) * 1000, body

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> bytes:
        content = None if body is None else json.dumps(body)
        self._connection.request(method, f"/api/v1{path}", content, self._headers)
        answer = self._connection.getresponse()
        read = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path} was answered {answer.status}: {read.decode(errors='replace')}")
        return read


def _optuna(size: int, runs: int) -> None:
    """Optuna's own figures and importances of as many random trials with eight float parameters."""
    import numpy as np
    import optuna
    from optuna import visualization as plots

    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rng = np.random.default_rng(1)
    names = [f"p{at}" for at in range(8)]
    space: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(0, 1) for name in names
    }
    one, two = optuna.create_study(), optuna.create_study(directions=["minimize", "minimize"])
    for values in rng.random((size, len(names))):
        params = dict(zip(names, map(float, values), strict=True))
        loss = float((values[0] - 0.3) ** 2 + values[1] * values[2] + 0.1 * rng.random())
        one.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=loss))
        two.add_trial(optuna.trial.create_trial(params=params, distributions=space, values=[loss, params["p3"]]))
    quick: dict[str, Callable[[], Any]] = {
        "history": lambda: plots.plot_optimization_history(one),
        "parallel": lambda: plots.plot_parallel_coordinate(one),
        "slice": lambda: plots.plot_slice(one),
        "contour (2 params)": lambda: plots.plot_contour(one, ["p0", "p1"]),
        "rank (2 params)": lambda: plots.plot_rank(one, ["p0", "p1"]),
        "timeline": lambda: plots.plot_timeline(one),
        "edf": lambda: plots.plot_edf(one),
        "pareto": lambda: plots.plot_pareto_front(two),
        "hypervolume": lambda: plots.plot_hypervolume_history(two, [3.0, 3.0]),
        "importance ped_anova": lambda: plots.plot_param_importances(one),
    }
    print(f"\nOptuna {optuna.__version__}'s own functions on {size} trials in memory; ms, median of {runs} runs; KB")
    for name, draw in quick.items():
        took, sent = zip(*(_drawn(draw) for _ in range(1 if "contour" in name else runs)), strict=True)
        print(f"{name:<24}{_spread(took)}                 {max(sent) / 1000:8.1f} KB")
    began = time.perf_counter()
    optuna.importance.get_param_importances(one, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0))
    print(f"{'importance fanova':<24}{(time.perf_counter() - began) * 1000:8.0f}  (once)")


def _drawn(draw: Callable[[], Any]) -> tuple[float, int]:
    began = time.perf_counter()
    sent = len(draw().to_json())
    return (time.perf_counter() - began) * 1000, sent


def _spread(took: Iterable[float]) -> str:
    known = list(took)
    return f"{statistics.median(known):8.0f}  ({min(known):.0f} to {max(known):.0f})".ljust(28)


if __name__ == "__main__":
    sys.exit(main())
