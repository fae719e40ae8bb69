"""The command line: exit codes, one line for what can be foreseen, data on stdout and talk on stderr."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from hpo.settings import Settings
from ladder.cli import run
from ladder.cli.output import advancing
from ladder.ports import free_port
from tests.unit.ladder.serving import RUNG, STUDY, Reply, Scripted, problem, serving, stream
from tests.unit.ladder.test_client import CONFUSION

SPEC = "name: digits\nobjectives:\n  - {metric: val_acc, direction: maximize}\nsampler: {type: tpe, seed: 7}\n"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of whoever runs the tests."""
    for name in ("URL", "TOKEN", "DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(f"LADDER_{name}", raising=False)
    monkeypatch.setenv("LADDER_HOME", str(tmp_path / "home"))


def at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADDER_URL", url)
    monkeypatch.setenv("LADDER_TOKEN", "ldr_a_b")


@pytest.mark.parametrize(
    ("reply", "code", "hint"),
    [
        (problem(404, "not_found", "there is no study 'x'"), 3, "ladder study ls"),
        (problem(409, "invalid_state", "a finished study cannot be paused"), 4, ""),
        (problem(401, "unauthorized", "the key is unknown"), 1, "ladder token create"),
        (problem(403, "forbidden", "this needs scope write"), 1, "wider scope"),
        (problem(422, "validation_failed", "1 field"), 2, ""),
        (problem(503, "unavailable", "Postgres cannot be reached"), 1, "ladder doctor"),
        (problem(500, "internal", "the server has failed"), 1, ""),
    ],
)
def test_a_refusal_is_told_in_a_line_with_its_exit_code(
    reply: Reply, code: int, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(reply) as server:
        at(server.url, monkeypatch)
        assert run(["study", "pause", "x"]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: " + json.loads(reply.payload)["detail"])
    assert hint in told.err
    assert "Traceback" not in told.err


def test_an_api_that_is_not_there_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    at(url, monkeypatch)
    assert run(["study", "ls"]) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error == f"error: {url} cannot be reached: Connection refused"
    assert "ladder up" in hint


@pytest.mark.parametrize(
    "arguments",
    [["frob"], ["study", "frob"], ["study", "get"], ["study", "ls", "--frob"], ["token", "create", "--scope", "root"],
     ["trial", "get", "s", "minus"], ["best", "s", "--top", "0"], ["study", "wait", "s", "--timeout", "soon"],
     ["study", "wait", "s", "--for", "ever"], ["worker", "--max-idle", "soon"], ["worker", "--max-idle", "0s"]],
)  # fmt: skip
def test_wrong_usage_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("arguments", [[], ["study"], ["trial"], ["db"], ["token"]])
def test_a_group_without_a_command_shows_its_commands_and_exits_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert "Usage:" in capsys.readouterr().out


def test_json_is_one_object_on_stdout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Reply(200, STUDY)) as server:
        at(server.url, monkeypatch)
        assert run(["study", "get", "digits", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["name"], shown["state"], shown["best"]["number"]) == ("digits", "running", 3)


def test_lists_are_json_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Reply(200, {"items": [STUDY, STUDY]})) as server:
        at(server.url, monkeypatch)
        assert run(["study", "ls", "--json"]) == 0
    assert [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()] == ["digits", "digits"]


def test_tables_are_plain_text_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Reply(200, {"items": [RUNG]})) as server:
        at(server.url, monkeypatch)
        assert run(["rungs", "digits"]) == 0
    head, row = (line.split() for line in capsys.readouterr().out.splitlines())
    assert dict(zip(head, row, strict=True)) == {
        "bracket": "0", "rung": "0", "resource": "1", "reported": "4", "promoted": "1", "waiting": "2", "running": "1",
        "cut-off": "0.75",
    }  # fmt: skip


def test_a_study_file_is_sent_with_its_overrides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(SPEC)
    with serving(Reply(201, STUDY)) as server:
        at(server.url, monkeypatch)
        assert run(["study", "create", "-f", str(file), "--set", "budget.max_trials=3", "--set", "sampler.seed=8"]) == 0
    sent = server.asked[0].json()
    assert sent["budget"] == {"max_trials": 3}
    assert sent["sampler"] == {"type": "tpe", "seed": 8}
    assert capsys.readouterr().out.startswith("digits  running")


def test_a_wrong_field_is_told_with_its_line_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(SPEC)
    errors = [{"pointer": "/sampler/seed", "code": "int_type", "message": "seed must be a whole number"}]
    with serving(problem(422, "validation_failed", "1 field", errors=errors)) as server:
        at(server.url, monkeypatch)
        assert run(["study", "create", "-f", str(file)]) == 2
    assert f"{file}:4: /sampler/seed: seed must be a whole number" in capsys.readouterr().err


def test_a_dry_run_shows_the_rungs_and_stores_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(SPEC)
    plan = {
        "spec": {}, "rungs": [{"bracket": 0, "rung": 0, "resource": 3, "trials": 30, "epochs": 90}], "max_trials": 30,
        "epochs": 200, "epochs_without_pruning": 810,
    }  # fmt: skip
    with serving(Reply(200, plan)) as server:
        at(server.url, monkeypatch)
        assert run(["study", "create", "-f", str(file), "--dry-run"]) == 0
    assert "dry_run=true" in server.asked[0].path
    assert "epochs  200 if each rung keeps its share, 810 without pruning" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a: [1\nb: 2\n", "study.yaml:2: not valid YAML"),
        (b"\xff\xfe\x00", "not text in UTF-8"),
        (None, "No such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_a_line(
    content: bytes | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "study.yaml"
    if content is not None:
        file.write_bytes(content)
    assert run(["study", "create", "-f", str(file)]) == 1
    error = capsys.readouterr().err
    assert told in error.splitlines()[0]
    assert "Traceback" not in error


class Watched:
    """The event stream, and the study for all else."""

    def __init__(self, server: Scripted) -> None:
        self._server = server

    def pop(self, _index: int) -> Reply:
        if self._server.asked[-1].path.endswith("/events"):
            return stream(
                {"seq": 1, "type": "trial-reported", "trial": 3, "data": {"step": 1, "loss": 0.25}},
                {"seq": 2, "type": "study-updated", "data": {"state": "cancelled"}},
            )
        return Reply(200, {**STUDY, "state": "cancelled"})

    def __len__(self) -> int:
        return 2


def test_watching_without_a_terminal_writes_a_line_per_event_and_fails_with_the_study(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Reply()) as server:
        server.script = Watched(server)  # type: ignore[assignment]
        at(server.url, monkeypatch)
        assert run(["study", "watch", "digits"]) == 1
        told = capsys.readouterr()
        assert run(["study", "watch", "digits", "--json"]) == 1
    assert told.out.splitlines() == [
        "03:04:05  digits  trial-reported  trial 3  step=1  loss=0.25",
        "03:04:05  digits  study-updated  state=cancelled",
    ]
    assert "study digits cancelled" in told.err
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["study"], line["seq"], line["data"]) for line in lines] == [
        ("digits", 1, {"step": 1, "loss": 0.25}), ("digits", 2, {"state": "cancelled"}),
    ]  # fmt: skip


def test_a_wait_that_is_not_met_exits_5(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Reply(200, STUDY)) as server:
        at(server.url, monkeypatch)
        assert run(["study", "wait", "digits", "--timeout", "1ms"]) == 5
    assert "still running" in capsys.readouterr().err


def test_the_time_that_a_worker_may_be_idle_is_read_with_its_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Settings] = []

    def run_worker(settings: Settings) -> int:
        given.append(settings)
        return 3

    monkeypatch.setattr("workers.main.run_worker", run_worker)
    monkeypatch.setenv("LADDER_MAX_IDLE_S", "7")
    assert run(["worker"]) == 3
    assert run(["worker", "--max-idle", "1.5m"]) == 3
    assert [settings.max_idle_s for settings in given] == [7.0, 90.0]


def test_a_setting_out_of_range_is_told_by_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LADDER_PORT", "99999")
    assert run(["api"]) == 1
    assert capsys.readouterr().err.startswith("error: LADDER_PORT: ")


def test_a_database_command_without_a_database_says_what_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["db", "upgrade"]) == 1
    assert "LADDER_DATABASE_URL is not set" in capsys.readouterr().err


def test_a_dead_database_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LADDER_DATABASE_URL", f"postgresql+psycopg2://ladder@/ladder?host={tmp_path}")
    assert run(["token", "create", "--scope", "read"]) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: Postgres: ")
    assert "ladder doctor" in hint


@pytest.mark.parametrize(
    ("terminal", "no_color", "moves"), [(True, "", True), (True, "1", False), (False, "", False), (False, "1", False)]
)
def test_a_bar_moves_on_a_terminal_and_not_with_no_color(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, no_color: str, moves: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", no_color)
    written = io.StringIO()
    monkeypatch.setattr(written, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", written)
    with advancing("reading curves", total=2) as advance:
        advance()
        advance()
    assert ("\x1b[" in written.getvalue()) == moves
    if not moves:
        assert written.getvalue() == "reading curves\n"


def test_help_loads_nothing_of_the_server_nor_the_client() -> None:
    program = (
        "import sys, ladder.cli; assert ladder.cli.run(['study', '--help']) == 0; "
        "heavy = {'ladder.client', 'api.schemas', 'fastapi', 'sqlalchemy', 'celery', 'torch'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_client_loads_no_server_part() -> None:
    program = (
        "import sys; from ladder import Client, space; "
        "heavy = {'fastapi', 'sqlalchemy', 'celery', 'torch', 'redis', 'optuna', 'numpy'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_confusion_matrix_is_shown_with_the_scores_of_its_classes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Reply(200, CONFUSION)) as server:
        at(server.url, monkeypatch)
        assert run(["trial", "confusion", "digits", "3", "--step", "9"]) == 0
        shown = capsys.readouterr().out
        assert run(["trial", "confusion", "digits", "3", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == CONFUSION
    assert [asked.path.partition("/3/")[2] for asked in server.asked] == ["confusion?step=9", "confusion"]
    rows = [line.split() for line in shown.splitlines()]
    assert ["dog", "0.8", "1", "0.889", "4"] in rows
    assert ["macro", "0.9", "0.875", "0.873", "8"] in rows
    assert rows[-2:] == [["cat", "3", "1"], ["dog", "0", "4"]]
