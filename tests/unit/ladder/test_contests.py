"""Contests from the client and the command line: what goes over the wire, and what is shown."""

import json
from pathlib import Path
from typing import Any

import pytest

from ladder import Client
from ladder.cli import run
from tests.unit.ladder.serving import Reply, Scripted, problem, serving

HEAD: dict[str, Any] = {
    "id": "0199a000-0000-7000-8000-00000000000c",
    "name": "duel",
    "state": "finished",
    "complete": "1/1",
    "created_at": "2026-01-02T03:04:05Z",
}
ROW = {
    "method": "random", "mean_rank": 1.0, "value_mean": 0.875, "value_ci95": None, "value_best": 0.875, "best_seed": 0,
    "epochs_mean": 12.0, "epochs_total": 12, "gpu_hours": 0.5, "wall_hours": 0.25, "trials": 3,
    "finished": 1, "failed": 0, "running": 0, "a_field_of_a_later_release": 1,
}  # fmt: skip
RESULT: dict[str, Any] = {
    "contest": "duel", "state": "finished", "complete": "1/1", "metric": "val_acc", "direction": "maximize",
    "max_epochs": 12, "seeds": [0], "items": [ROW],
}  # fmt: skip
STUDY: dict[str, Any] = {
    "id": "0199a000-0000-7000-8000-000000000001", "name": "duel.random.s0", "method": "random", "seed": 0,
    "state": "finished", "state_reason": "max_epochs", "value": 0.875, "epochs": 12, "gpu_hours": 0.5, "trials": 3,
}  # fmt: skip
CONTEST: dict[str, Any] = {**HEAD, "spec": {"name": "duel"}, "studies": [STUDY], "result": RESULT}
SPEC = "name: duel\nstudy:\n  objectives: []\nmethods:\n  - {name: a}\n  - {name: a}\nbudget: {max_epochs: 12}\n"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADDER_HOME", str(tmp_path / "home"))


def at(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADDER_URL", server.url)
    monkeypatch.setenv("LADDER_TOKEN", "ldr_a_b")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "duel.yaml"
    path.write_text(SPEC)
    return path


def state(contest: str, study: str, complete: str) -> dict[str, Any]:
    return {**CONTEST, "state": contest, "complete": complete, "studies": [{**STUDY, "state": study}]}


def test_the_client_has_a_method_for_every_route() -> None:
    script = [
        Reply(201, CONTEST),
        Reply(200, CONTEST),
        Reply(200, RESULT),
        Reply(200, "method\r\nrandom\r\n"),
        Reply(200, "| method |"),
        Reply(200, {"items": [HEAD, HEAD], "next_page_token": "a b"}),
        Reply(200, {"items": [HEAD]}),
    ]
    with serving(*script) as server, Client(server.url, "t") as client:
        assert client.contests.create({"name": "duel"}).studies[0].name == "duel.random.s0"
        assert client.contests.get("my duel").result.items[0].value_mean == 0.875
        assert client.contests.result("duel").seeds == [0]
        assert client.contests.csv("duel") == "method\r\nrandom\r\n"
        assert client.contests.markdown("duel") == "| method |"
        assert len(client.contests.list()) == 3
    assert [(asked.method, asked.path) for asked in server.asked] == [
        ("POST", "/api/v1/contests"),
        ("GET", "/api/v1/contests/my%20duel"),
        ("GET", "/api/v1/contests/duel/result"),
        ("GET", "/api/v1/contests/duel/result?format=csv"),
        ("GET", "/api/v1/contests/duel/result?format=md"),
        ("GET", "/api/v1/contests?page_size=500"),
        ("GET", "/api/v1/contests?page_size=500&page_token=a+b"),
    ]
    assert server.asked[0].headers["idempotency-key"]


def test_watching_yields_each_change_and_ends_with_the_contest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ladder.contests.POLL_S", 0.0)
    seen = [state("running", "running", "0/1"), state("running", "running", "0/1"), CONTEST]
    with serving(*(Reply(200, body) for body in seen)) as server, Client(server.url, "t") as client:
        assert [now.state for now in client.contests.watch("duel")] == ["running", "finished"]
    assert len(server.asked) == 3


def test_a_file_is_sent_with_its_overrides(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Reply(201, CONTEST)) as server:
        at(server, monkeypatch)
        assert run(["contest", "create", "-f", str(file), "--set", "seeds=5", "--set", "methods.1.name=b"]) == 0
    sent = server.asked[0].json()
    assert (sent["seeds"], sent["methods"]) == (5, [{"name": "a"}, {"name": "b"}])
    told = capsys.readouterr()
    assert told.out == f"duel  finished  {HEAD['id']}\n"
    assert "ladder contest result duel" in told.err


def test_an_error_is_told_with_its_line_of_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = {"pointer": "/methods/1/name", "code": "duplicate_name", "message": "twice"}
    with serving(problem(422, "validation_failed", "1 field", errors=[error])) as server:
        at(server, monkeypatch)
        assert run(["contest", "create", "-f", str(file)]) == 2
    assert f"{file}:6: /methods/1/name: twice" in capsys.readouterr().err


@pytest.mark.parametrize(("ended", "code"), [("finished", 0), ("failed", 1)])
def test_create_with_watch_ends_with_the_table_and_says_how_it_went(
    ended: str, code: int, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ladder.contests.POLL_S", 0.0)
    script = [state("running", "running", "0/1"), state("running", "running", "0/1"), state(ended, ended, "1/1")]
    with serving(Reply(201, script[0]), *(Reply(200, body) for body in script)) as server:
        at(server, monkeypatch)
        assert run(["contest", "create", "-f", str(file), "--watch"]) == code
    told = capsys.readouterr()
    assert told.out.split()[:2] == ["method", "mean"]
    assert "duel  running  0/1  12 epochs  first random 0.875" in told.err
    assert f"duel  {ended}  1/1" in told.err


def test_watching_for_a_program_is_json_lines(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Reply(201, CONTEST), Reply(200, CONTEST)) as server:
        at(server, monkeypatch)
        assert run(["contest", "create", "-f", str(file), "--watch", "--json"]) == 0
    assert [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()] == ["finished"]


def test_contests_and_their_studies_are_shown_as_plain_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Reply(200, {"items": [HEAD]}), Reply(200, CONTEST)) as server:
        at(server, monkeypatch)
        assert run(["contest", "ls"]) == 0
        assert capsys.readouterr().out.splitlines()[1].split() == ["duel", "finished", "1/1", "2026-01-02", "03:04"]
        assert run(["contest", "get", "duel"]) == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["duel.random.s0", "finished", "max_epochs", "0.875", "12", "3"] in shown
    assert ["random", "1", "0.875", "-", "0.875", "12", "0.5", "0.25", "3"] in shown


@pytest.mark.parametrize(("flag", "asked", "body"), [("--csv", "csv", "a\r\nb\r\n"), ("--markdown", "md", "| – |\n")])
def test_the_table_is_written_as_the_server_made_it(
    flag: str, asked: str, body: str, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    with serving(Reply(200, body)) as server:
        at(server, monkeypatch)
        assert run(["contest", "result", "duel", flag]) == 0
    assert server.asked[0].path.endswith(f"/result?format={asked}")
    assert capsysbinary.readouterr().out == body.encode()


def test_the_result_as_json_is_one_object(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Reply(200, RESULT)) as server:
        at(server, monkeypatch)
        assert run(["contest", "result", "duel", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"][0]["method"] == "random"


def test_two_formats_at_once_are_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["contest", "result", "duel", "--json", "--csv"]) == 2
    assert "give one of" in capsys.readouterr().err


def test_a_contest_that_is_not_there_leads_to_the_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(problem(404, "not_found", "there is no contest 'x'")) as server:
        at(server, monkeypatch)
        assert run(["contest", "get", "x"]) == 3
    assert "ladder contest ls" in capsys.readouterr().err
