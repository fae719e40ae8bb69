"""What the pages are shown with: a study in the middle of its life, an empty one, and one of ten thousand trials."""

from dataclasses import dataclass

from benchmarks.filled import fill_database, spec
from tests.browser.conftest import Site
from tests.integration.api.caller import Api, Json

HOSTILE = "<img src=x onerror=alert(1)>"
SPACE = [
    {"name": "lr", "type": "float", "low": 1e-4, "high": 0.1, "log": True},
    {"name": "width", "type": "int", "low": 16, "high": 64, "step": 16},
    {"name": "optimizer", "type": "categorical", "choices": ["sgd", "adam", HOSTILE]},
]
OBJECTIVE = [{"metric": "val_acc", "direction": "maximize"}]
ASHA = {"type": "asha", "min_resource": 1, "max_resource": 9, "reduction_factor": 3, "mode": "promote"}


@dataclass(frozen=True)
class Shown:
    """Two projects: of ``api`` the studies "populated", "empty" and "crowd", of ``nobody`` none at all."""

    api: Api
    nobody: Api


def fill(site: Site, dsn: str) -> Shown:
    shown = Shown(site.project(), site.project())
    api = shown.api
    populated(api)
    api.create("empty", advance=False, objectives=OBJECTIVE, search_space=SPACE, scheduler=ASHA, start=False)
    answer = api.post("/studies", spec("crowd", 10_000))
    assert answer.status_code == 201, answer.text
    fill_database(dsn, answer.json()["id"], 10_000)
    api.create("front", objectives=[*OBJECTIVE, {"metric": "latency_ms", "direction": "minimize"}], search_space=SPACE)
    for number, trial in enumerate(api.ask("front", count=3)):
        for step in (1, 2, 3):
            metrics = {"val_acc": 0.5 + 0.1 * number, "latency_ms": 1.0 + number}
            api.report(trial, step, metrics=metrics)
    return shown


def populated(api: Api, name: str = "populated") -> Json:
    """A study of which trials were promoted, pruned, failed and diverged, and one runs."""
    study = api.create(
        name, objectives=OBJECTIVE, search_space=SPACE, scheduler=ASHA, labels={"team": "vision"},
        budget={"max_trials": 12}, description=HOSTILE, confirm=None,
    )  # fmt: skip
    worker = {"queue": "gpu", "host": "node-1", "device": "NVIDIA H100 #0", "protocol_version": 3, "pid": 1}
    assert api.call("PUT", "/workers/node-1.gpu0", worker, scope="worker").status_code == 200
    for number in range(9):
        [trial] = api.ask(name, worker="node-1.gpu0")
        if number == 4:
            api.tell(trial, state="failed", error={"type": "ValueError", "message": HOSTILE, "traceback": "line 1",
                                                   "end_class": "user_error"})  # fmt: skip
            continue
        for step in range(trial["last_step"] + 1, trial["target_step"] + 1):
            value = "nan" if number == 6 else 0.5 + 0.03 * number + 0.04 * step
            answer = api.report(trial, step, metrics={"val_acc": value, "val_loss": 1.0 / step, "params_m": 1.5})
            if answer.status_code != 200 or answer.json()["decision"] != "continue":
                break
    api.ask(name, worker="node-1.gpu0")
    return study
