"""The command line on the served API: what it prints for programs is what the API's document says."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from ladder.cli import run
from tests.integration.api.caller import Api, Json

DOCUMENT: dict[str, Any] = json.loads((Path(__file__).parents[3] / "openapi.json").read_text())
Told = tuple[int, str, str]
Call = Callable[..., Told]


@pytest.fixture
def told(api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command as the project's admin, or with another of its keys: exit code, stdout, stderr."""
    monkeypatch.setenv("LADDER_URL", str(api.client.base_url).rstrip("/"))

    def call(*arguments: str, scope: str = "admin") -> Told:
        monkeypatch.setenv("LADDER_TOKEN", api.tokens[scope])
        capsys.readouterr()
        code = run(arguments)
        return code, *capsys.readouterr()

    return call


def validator(name: str) -> Any:
    """Of a component of the document, or with ``[]`` of the items of a page of them."""
    schema: Json = {"$ref": f"#/components/schemas/{name.removesuffix('[]')}"}
    if name.endswith("[]"):
        schema = DOCUMENT["components"]["schemas"][name.removesuffix("[]")]["properties"]["items"]["items"]
    return jsonschema_rs.validator_for({**schema, "components": DOCUMENT["components"]})


def filled(api: Api) -> str:
    """A study ``s`` with a trial that is complete, one that has failed and one that runs, with a line of its log."""
    api.create("s", scheduler={"type": "asha", "max_resource": 3, "mode": "stop"})
    first, second, third = api.ask(count=3)
    for step in (1, 3):
        api.report(first, step, 0.5 / step)
    api.tell(first)
    api.tell(second, state="failed", error={"type": "user_error", "message": "no"})
    api.report(third, 1, 0.25)
    lease = str(third["lease"]["token"])
    line = {"position": 1, "at": "2026-01-02T03:04:05Z", "stream": "out", "text": "epoch 1"}
    api.post(f"/studies/s/trials/{third['number']}/logs", {"lease": lease, "lines": [line]}, scope="worker")
    body = {"queue": "cpu", "protocol_version": 3, "host": "h"}
    api.call("PUT", "/workers/w", body, scope="worker")
    return lease


READS = {
    "study ls": "StudyPage[]", "study get s": "StudyRead", "best s": "BestList[]",
    "rungs s": "RungList[]", "pareto s": "ParetoFront", "importance s": "ImportanceRead", "plot s history": "Figure",
    "compare s": "Comparison", "trial ls s": "TrialPage[]", "trial get s 0": "TrialRead",
    "trial schedule s 0": "Schedule[]", "trial logs s 2": "LogLineRead", "trial artifacts s 0": "ArtifactList[]",
    "worker ls": "WorkerPage[]", "worker get w": "WorkerRead", "queue ls": "QueueList[]",
    "trainers ls": "TrainerList[]", "trainers show synthetic": "TrainerRead", "samplers ls": "EntryList[]",
    "samplers show tpe": "EntryRead", "schedulers ls": "EntryList[]", "rules ls": "EntryList[]",
    "contest ls": "ContestPage[]",
}  # fmt: skip


def test_what_reading_commands_print_for_programs_is_what_the_document_says(api: Api, told: Call) -> None:
    filled(api)
    empty = []
    for command, schema in READS.items():
        code, out, err = told(*command.split(), "--json")
        assert code == 0, (command, err)
        lines = [json.loads(line) for line in out.splitlines()]
        if not lines:
            empty.append(command)
        for line in lines:
            assert [str(error) for error in validator(schema).iter_errors(line)] == [], command
    assert empty == ["trial artifacts s 0", "contest ls"]


CHANGES = [
    ("study pause s", "StudyRead", {"state": "paused"}),
    ("study resume s", "StudyRead", {"state": "running"}),
    ("study patch s --set labels.team=a --set budget.max_concurrent=2", "StudyRead", {"labels": {"team": "a"}}),
    ("study extend s --trials 9 --wall 1h", "StudyRead", {"revision": 5}),
    ("study clone s t --set sampler.seed=5 --no-start", "StudyRead", {"name": "t", "state": "created"}),
    ("study start t", "StudyRead", {"state": "running"}),
    ("trial enqueue s x=0.5", None, {"waiting": 1}),
    ("trial stop s 2", "TrialRead", {"number": 2}),
    ("trial retry s 1", "TrialRead", {"state": "queued"}),
    ("study stop t", "StudyRead", {"name": "t"}),
    ("study cancel s", "StudyRead", {"state": "cancelled"}),
    ("study archive s", "StudyRead", {"state": "cancelled"}),
    ("study unarchive s", "StudyRead", {"state": "cancelled"}),
    ("study rm s --yes", "StudyDeleted", {"name": "s"}),
    ("worker drain w", "WorkerRead", {"state": "draining"}),
    ("worker resume w", "WorkerRead", {"drain": False}),
]


def test_commands_that_change_something_do_it_and_print_what_the_document_says(api: Api, told: Call) -> None:
    filled(api)
    for command, schema, wanted in CHANGES:
        code, out, err = told(*command.split(), "--json")
        assert code == 0, (command, err)
        shown = json.loads(out)
        if schema is not None:
            assert [str(error) for error in validator(schema).iter_errors(shown)] == [], command
        assert {name: shown[name] for name in wanted} == wanted, command


def test_a_trial_is_trained_by_hand(api: Api, told: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api.create("s")
    file = tmp_path / "weights"
    file.write_bytes(b"weights")
    code, out, _ = told("lease", "ask", "s", "--json", scope="worker")
    (assignment,) = json.loads(out)["trials"]
    lease = ("--lease", assignment["lease"]["token"], "--json")
    where = ("s", str(assignment["number"]))
    monkeypatch.setattr(sys, "stdin", io.StringIO("epoch 1\ndone\n"))
    steps = [
        (("heartbeat", *where), "HeartbeatOut"),
        (("log", *where), None),
        (("upload", *where, "1", str(file)), "ArtifactRead"),
        (("report", *where, "1", "loss=0.5"), "ReportOut"),
        (("report", *where, "2", "loss=nan"), "ReportOut"),
    ]
    for arguments, schema in steps:
        code, out, err = told("lease", *arguments, *lease, scope="worker")
        assert code == 0, err
        if schema is not None:
            assert [str(error) for error in validator(schema).iter_errors(json.loads(out))] == [], arguments
    assert json.loads(out)["decision"] == "stop"  # not a number: it has diverged
    assert told("lease", "tell", *where, *lease, scope="worker")[0] == 4
    _, out, _ = told("trial", "logs", *where)
    assert [line.split("   ")[1] for line in out.splitlines()] == ["epoch 1", "done"]
    to = tmp_path / "fetched"
    assert told("trial", "download", *where, "-o", str(to))[0] == 0
    assert to.read_bytes() == b"weights"


def test_the_best_checkpoint_of_a_trial_is_the_one_at_its_lowest_loss(api: Api, told: Call, tmp_path: Path) -> None:
    api.create(
        "s", objectives=[{"metric": "acc", "direction": "maximize"}], scheduler={"type": "fifo", "max_resource": 9}
    )
    first, second = api.ask(count=2)
    for trial, accs in ((first, (0.5, 0.8, 0.9, 0.6)), (second, (0.95,))):
        for step, acc in enumerate(accs, start=1):
            if acc != 0.9:  # the best epoch left no checkpoint
                headers = {"X-Ladder-Lease": trial["lease"]["token"], "Content-Type": "application/octet-stream"}
                path = f"/studies/s/trials/{trial['number']}/artifacts/step-{step}.safetensors"
                put = api.call("PUT", path, raw=f"{trial['number']}/{step}".encode(), scope="worker", headers=headers)
                assert put.status_code == 201
            assert api.report(trial, step, metrics={"acc": acc}).status_code == 200
    to = tmp_path / "fetched"
    best, other = first["number"], second["number"]
    for given, content in (
        ((str(best), "--best"), f"{best}/2"),
        ((str(best),), f"{best}/4"),
        (("--best",), f"{other}/1"),
    ):
        code, _, err = told("trial", "download", "s", *given, "-o", str(to))
        assert code == 0, err
        assert to.read_text() == content


def test_a_trial_whose_checkpoints_have_no_finite_value_has_no_best_one(api: Api, told: Call) -> None:
    api.create("s")
    (trial,) = api.ask()
    headers = {"X-Ladder-Lease": trial["lease"]["token"], "Content-Type": "application/octet-stream"}
    api.call("PUT", "/studies/s/trials/0/artifacts/step-1.safetensors", raw=b"1", scope="worker", headers=headers)
    api.report(trial, 1, "nan")
    code, _, err = told("trial", "download", "s", "0", "--best")
    assert code == 1
    assert "no checkpoint of trial 0 has a finite loss" in err


def test_nothing_to_lease_exits_5(api: Api, told: Call) -> None:
    api.create("s", start=False, advance=False)
    code, _, err = told("lease", "ask", "s")
    assert (code, err) == (5, "nothing to do: paused\n")


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "optuna"])
def test_a_study_is_exported_by_the_ending_of_the_file(api: Api, told: Call, tmp_path: Path, ending: str) -> None:
    filled(api)
    to = tmp_path / f"t.{ending}"
    code, out, err = told("study", "export", "s", "-o", str(to), "--json")
    assert code == 0, err
    assert json.loads(out) == {"file": str(to), "what": "trials", "format": ending, "size_bytes": to.stat().st_size}
    assert to.stat().st_size > 0


def test_an_export_to_stdout_is_the_file_and_nothing_else(
    api: Api, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    filled(api)
    monkeypatch.setenv("LADDER_URL", str(api.client.base_url).rstrip("/"))
    monkeypatch.setenv("LADDER_TOKEN", api.tokens["read"])
    code = run(["study", "export", "s", "-o", "-", "--what", "metrics"])
    assert code == 0
    head, *rows = capfdbinary.readouterr().out.splitlines()
    assert [name.strip(b'"') for name in head.split(b",")[:2]] == [b"number", b"step"]
    assert len(rows) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("study", "export", "s", "-o", "t.xyz"), 2, "does not say its format"),
        (("study", "export", "s", "-o", "no/such/dir.csv"), 1, "No such file or directory"),
        (("study", "extend", "s"), 2, "say what to raise"),
        (("study", "extend", "s", "--wall", "soon"), 2, "--wall: a duration is"),
        (("study", "rm", "s"), 2, "say --yes"),
        (("study", "clone", "s", "s"), 4, "already"),
        (("study", "get", "nobody"), 3, "there is no study"),
        (("plot", "s", "history", "-o", "t.png"), 2, "ends in .json or .html"),
        (("plot", "s", "slice", "--params", "nobody"), 2, "nobody"),
        (("compare", "s", "s/1"), 2, "compare trials or studies"),
        (("samplers", "show", "nobody"), 1, "random"),
        (("trial", "download", "s"), 2, "give the number of a trial, or --best"),
        (("trial", "download", "s", "0"), 1, "has no checkpoint"),
        (("trial", "download", "s", "0", "--best"), 1, "trial 0 has no checkpoint"),
        (("trial", "download", "s", "0", "--best", "--step", "1"), 2, "give --step or --best"),
        (("trial", "logs", "s", "0", "-f", "--attempt", "1"), 2, "give --follow"),
        (("lease", "report", "s", "0", "1", "loss", "--lease", "0199a000-0000-4000-8000-000000000002"), 2, "NAME="),
        (("worker", "rm", "nobody", "--yes"), 3, "nobody"),
        (("explain", "nobody"), 3, "nobody"),
    ],
)
def test_what_cannot_be_done_is_told_in_words(
    api: Api, told: Call, arguments: tuple[str, ...], code: int, message: str
) -> None:
    api.create("s")
    found, out, err = told(*arguments)
    assert found == code, err
    assert out == ""
    assert message in err
    assert "Traceback" not in err


def test_an_error_names_its_title_its_request_and_what_to_do_next(api: Api, told: Call) -> None:
    api.create("s", advance=False)
    code, _, err = told("study", "archive", "s")
    first, second, hint = err.splitlines()
    assert code == 4
    assert first.startswith("error: ")
    assert second.startswith("  Not possible in this state, request ")
    assert hint == "  try: ladder explain invalid_state"
    assert told("explain", "invalid_state")[0] == 0


def test_waiting_ends_with_what_is_waited_for(api: Api, told: Call) -> None:
    filled(api)
    assert told("study", "wait", "s", "--for", "trials=2", "--timeout", "0s")[0] == 0
    code, _, err = told("study", "wait", "s", "--for", "finished", "--timeout", "0s")
    assert (code, err) == (5, "error: study s is still running after 0.0\n")
    api.post("/studies/s/cancel")
    assert told("study", "wait", "s", "--for", "finished")[2] == "error: study s ended cancelled\n"
    assert told("study", "wait", "s", "--for", "trials=9")[0] == 5


def test_a_figure_is_a_page_that_needs_no_network(api: Api, told: Call, tmp_path: Path) -> None:
    filled(api)
    page = tmp_path / "history.html"
    code, out, err = told("plot", "s", "history", "-o", str(page), "--json")
    assert code == 0, err
    assert json.loads(out)["file"] == str(page)
    text = page.read_text()
    assert "Plotly.newPlot" in text
    assert "<script src=" not in text


def test_watching_follows_the_log_to_the_end_of_the_study(api: Api, told: Call) -> None:
    api.create("s", advance=False)
    api.post("/studies/s/cancel")
    code, out, err = told("study", "watch", "s", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert code == 1
    assert "study s cancelled" in err


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("ladder study get d", ["digits", "dogs"]),
        ("ladder trial get digits ", ["0"]),
        ("ladder trial ls digits --state p", ["paused", "pruned"]),
        ("ladder study ls --state fi", ["finished"]),
        ("ladder worker drain n", ["n1"]),
        ("ladder samplers show so", ["sobol"]),
        ("ladder study get nobody", []),
    ],
)
def test_the_shell_completes_names_numbers_and_states(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, offered: list[str]
) -> None:
    for name in ("digits", "dogs", "cats"):
        api.create(name, advance=name == "digits", budget={"max_trials": 2})
    api.call("PUT", "/workers/n1", {"queue": "cpu", "protocol_version": 3}, scope="worker")
    monkeypatch.setenv("LADDER_URL", str(api.client.base_url).rstrip("/"))
    monkeypatch.setenv("LADDER_TOKEN", api.tokens["read"])
    assert completed(words, monkeypatch, capsys) == sorted(offered)


def test_the_shell_offers_nothing_where_nobody_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LADDER_URL", "http://127.0.0.1:9")
    assert completed("ladder study get d", monkeypatch, capsys) == []
    assert capsys.readouterr().err == ""


def completed(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What bash is offered after these words."""
    monkeypatch.setenv("_LADDER_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    with pytest.raises(SystemExit):
        run([])
    return sorted(capsys.readouterr().out.split())
