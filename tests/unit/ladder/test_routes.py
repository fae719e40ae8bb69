"""Every path of the API is reachable from Python and from the command line: the table of where."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import typer
from typer.main import get_command

from api.schemas.imports import StudyImport
from api.schemas.leases import AskIn, ClaimIn, ReleaseIn, ReportIn, TellIn
from api.schemas.logs import LogLineIn, LogsIn
from api.schemas.trials import ArtifactRead
from api.schemas.workers import WorkerIn
from ladder.cli.app import app
from ladder.client import Client

DOCUMENT: dict[str, Any] = json.loads((Path(__file__).parents[3] / "openapi.json").read_text())
V1 = "/api/v1"
S, T = f"{V1}/studies/{{study}}", f"{V1}/studies/{{study}}/trials/{{number}}"
LEASE = UUID("0199a000-0000-4000-8000-000000000002")
AT = "2026-01-02T03:04:05Z"
ARTIFACT = ArtifactRead(
    name="step-1.safetensors", id=LEASE, step=1, attempt=1, size_bytes=1, sha256="0" * 64, created_at=AT
)
LINE = LogLineIn(position=1, at=AT, stream="out", text="x")
SPEC: dict[str, Any] = {
    "name": "s", "objectives": [{"metric": "loss", "direction": "minimize"}], "trainer": {"name": "external"},
    "search_space": [{"name": "x", "type": "float", "low": 0, "high": 1}],
}  # fmt: skip
PAGE = StudyImport.model_validate({"study": SPEC, "source": "test", "trials": []})

# (method, path) -> a call of the client that takes it, and the command that does; where the command is the worker
# itself, it speaks for its trial all the time.
ROUTES: dict[tuple[str, str], tuple[Callable[[Client], object], str]] = {
    ("POST", f"{V1}/studies"): (lambda c: c.studies.create("s"), "study create"),
    ("GET", f"{V1}/studies"): (lambda c: c.studies.list(), "study ls"),
    ("POST", f"{V1}/studies/import"): (lambda c: c.studies.import_page(PAGE), "import optuna"),
    ("GET", S): (lambda c: c.studies.get("s"), "study get"),
    ("PATCH", S): (lambda c: c.studies.patch("s", {}), "study patch"),
    ("DELETE", S): (lambda c: c.studies.delete("s"), "study rm"),
    ("POST", f"{S}/start"): (lambda c: c.studies.start("s"), "study start"),
    ("POST", f"{S}/pause"): (lambda c: c.studies.pause("s"), "study pause"),
    ("POST", f"{S}/resume"): (lambda c: c.studies.resume("s"), "study resume"),
    ("POST", f"{S}/stop"): (lambda c: c.studies.stop("s"), "study stop"),
    ("POST", f"{S}/cancel"): (lambda c: c.studies.cancel("s"), "study cancel"),
    ("POST", f"{S}/extend"): (lambda c: c.studies.extend("s", max_trials=9), "study extend"),
    ("POST", f"{S}/clone"): (lambda c: c.studies.clone("s", "t"), "study clone"),
    ("POST", f"{S}/archive"): (lambda c: c.studies.archive("s"), "study archive"),
    ("POST", f"{S}/unarchive"): (lambda c: c.studies.unarchive("s"), "study unarchive"),
    ("GET", f"{S}/rungs"): (lambda c: c.studies.rungs("s"), "rungs"),
    ("GET", f"{S}/best"): (lambda c: c.studies.best("s"), "best"),
    ("GET", f"{S}/pareto"): (lambda c: c.studies.pareto("s"), "pareto"),
    ("GET", f"{S}/importance"): (lambda c: c.studies.importance("s"), "importance"),
    ("GET", f"{S}/plots/{{plot}}"): (lambda c: c.studies.plot("s", "history"), "plot"),
    ("GET", f"{V1}/compare"): (lambda c: c.studies.compare(studies=["s"]), "compare"),
    ("GET", f"{V1}/plots/compare"): (lambda c: c.studies.compare_plot(studies=["s"]), "compare"),
    ("GET", f"{S}/export"): (lambda c: c.studies.export("s", Path("/tmp/x")), "study export"),
    ("GET", f"{S}/curves"): (lambda c: next(c.studies.curves("s")), "whatif"),
    ("GET", f"{S}/warm-start"): (lambda c: c.studies.warm_start("s"), "replay"),
    ("GET", f"{S}/events"): (lambda c: next(c.studies.events("s", follow=False)), "study events"),
    ("POST", f"{S}/ask"): (lambda c: c.leases.ask("s", AskIn(worker="w")), "lease ask"),
    ("GET", f"{S}/trials"): (lambda c: c.studies.trials("s"), "trial ls"),
    ("POST", f"{S}/trials"): (lambda c: c.studies.enqueue("s", {"x": 1}), "trial enqueue"),
    ("GET", T): (lambda c: c.studies.trial("s", 1), "trial get"),
    ("POST", f"{T}/stop"): (lambda c: c.studies.stop_trial("s", 1), "trial stop"),
    ("POST", f"{T}/retry"): (lambda c: c.studies.retry_trial("s", 1), "trial retry"),
    ("GET", f"{T}/metrics"): (lambda c: c.studies.metrics("s", 1), "trial get"),
    ("GET", f"{T}/confusion"): (lambda c: c.studies.confusion("s", 1), "trial confusion"),
    ("GET", f"{T}/decisions"): (lambda c: c.studies.decisions("s", 1), "trial get"),
    ("GET", f"{T}/attempts"): (lambda c: c.studies.attempts("s", 1), "trial get"),
    ("GET", f"{T}/schedule"): (lambda c: c.studies.schedule("s", 1), "trial schedule"),
    ("GET", f"{T}/logs"): (lambda c: c.studies.logs("s", 1), "trial logs"),
    ("POST", f"{T}/logs"): (lambda c: c.leases.log("s", 1, LogsIn(lease=LEASE, lines=[LINE])), "lease log"),
    ("GET", f"{T}/artifacts"): (lambda c: c.studies.artifacts("s", 1), "trial artifacts"),
    ("GET", f"{T}/artifacts/{{name}}"): (lambda c: c.studies.artifact("s", 1, ARTIFACT.name), "trial download"),
    ("PUT", f"{T}/artifacts/{{name}}"): (lambda c: c.studies.upload("s", 1, 1, b"x", lease=LEASE), "lease upload"),
    ("GET", f"{T}/artifacts/{{name}}/manifest"): (lambda c: c.studies.manifest("s", 1, ARTIFACT), "trial manifest"),
    ("POST", f"{T}/heartbeat"): (lambda c: c.leases.heartbeat("s", 1, LEASE), "lease heartbeat"),
    ("POST", f"{T}/report"): (
        lambda c: c.leases.report("s", 1, ReportIn(lease=LEASE, step=1, metrics={})), "lease report",
    ),
    ("POST", f"{T}/release"): (lambda c: c.leases.release("s", 1, ReleaseIn(lease=LEASE)), "lease release"),
    ("POST", f"{T}/tell"): (
        lambda c: c.leases.tell("s", 1, TellIn(lease=LEASE, state="complete")), "lease tell",
    ),
    ("POST", f"{V1}/claim"): (lambda c: c.leases.claim(ClaimIn(worker="w", queue="cpu", claim_id=LEASE)), "worker"),
    ("GET", f"{V1}/workers"): (lambda c: c.workers.list(), "worker ls"),
    ("GET", f"{V1}/workers/{{worker}}"): (lambda c: c.workers.get("w"), "worker get"),
    ("PUT", f"{V1}/workers/{{worker}}"): (
        lambda c: c.workers.put("w", WorkerIn(queue="cpu", protocol_version=3)), "worker",
    ),
    ("DELETE", f"{V1}/workers/{{worker}}"): (lambda c: c.workers.delete("w"), "worker rm"),
    ("POST", f"{V1}/workers/{{worker}}/drain"): (lambda c: c.workers.drain("w"), "worker drain"),
    ("POST", f"{V1}/workers/{{worker}}/resume"): (lambda c: c.workers.resume("w"), "worker resume"),
    ("GET", f"{V1}/queues"): (lambda c: c.queues.list(), "queue ls"),
    ("GET", f"{V1}/events"): (lambda c: next(c.events()), "events"),
    ("GET", f"{V1}/trainers"): (lambda c: c.registry.trainers(), "trainers ls"),
    ("GET", f"{V1}/samplers"): (lambda c: c.registry.samplers(), "samplers ls"),
    ("GET", f"{V1}/schedulers"): (lambda c: c.registry.schedulers(), "schedulers ls"),
    ("GET", f"{V1}/rules"): (lambda c: c.registry.rules(), "rules ls"),
    ("POST", f"{V1}/contests"): (lambda c: c.contests.create({}), "contest create"),
    ("GET", f"{V1}/contests"): (lambda c: c.contests.list(), "contest ls"),
    ("GET", f"{V1}/contests/{{contest}}"): (lambda c: c.contests.get("c"), "contest get"),
    ("GET", f"{V1}/contests/{{contest}}/result"): (lambda c: c.contests.result("c"), "contest result"),
    ("GET", "/healthz"): (lambda c: c.server.health(), "version"),
    ("GET", "/readyz"): (lambda c: c.server.ready(), "doctor"),
    ("GET", "/metrics"): (lambda c: c.server.metrics(), "metrics"),
    ("GET", "/version"): (lambda c: c.server.version(), "version"),
    ("GET", "/problems/{code}"): (lambda c: c.server.problem("malformed"), "explain"),
}  # fmt: skip
VALUES = {"study": "s", "number": "1", "name": ARTIFACT.name, "plot": "history", "worker": "w", "contest": "c",
          "code": "malformed"}  # fmt: skip


class Asked(Exception):
    """The first request of a call, which is not sent."""


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client whose first request raises what it was to be."""

    class Recorded:
        def send(self, method: str, target: str, *_: object) -> None:
            raise Asked(method, target.partition("?")[0])

        @contextmanager
        def open(self, target: str, *_: object, **__: object) -> Iterator[None]:
            raise Asked("GET", target.partition("?")[0])
            yield

        def close(self) -> None:
            """Nothing was opened."""

    with Client("http://127.0.0.1:1", "t", retries=0) as made:
        monkeypatch.setattr(made.http, "_wire", Recorded())
        yield made


def test_the_table_has_every_path_of_the_api_and_no_other() -> None:
    served = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert served - {("HEAD", path) for _, path in served} == set(ROUTES), "name its call and its command here"


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_the_call_takes_the_route(route: tuple[str, str], client: Client) -> None:
    method, path = route
    with pytest.raises(Asked) as asked:
        ROUTES[route][0](client)
    assert asked.value.args == (method, path.format(**VALUES))


def commands(group: typer.Typer) -> dict[str, Any]:
    """Every command by its words."""

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        yield " ".join(words), command
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, (*words, name))

    return dict(walk(get_command(group), ()))


def test_the_commands_of_the_table_exist() -> None:
    known = commands(app)
    assert [command for _, command in ROUTES.values() if command not in known] == []


def test_every_command_takes_json() -> None:
    told = {
        words: [option for param in command.params for option in param.opts]
        for words, command in commands(app).items()
        if not getattr(command, "commands", {})
    }
    assert [words for words, options in told.items() if "--json" not in options] == []
