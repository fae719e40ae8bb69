"""Records fetched in bulk, and the commands that read them: what is sent, resumed, understood and refused."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ladder.cli import extras, run
from ladder.client import Client
from ladder.errors import LocalError, Unreachable
from tests.unit.ladder.serving import STUDY, Reply, problem, serving

MEDIAN = ["--scheduler", "median"]


def curve(number: int, **changes: Any) -> str:
    plain = {"number": number, "params": {"x": 0.5}, "state": "complete", "steps": [1], "losses": [0.5], "seconds": [2]}
    return json.dumps(plain | changes) + "\n"


def at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADDER_URL", url)
    monkeypatch.setenv("LADDER_TOKEN", "ldr_a_b")


def test_events_that_are_there_now_are_read_once() -> None:
    event = {"seq": 1, "type": "trial-reported", "trial": 1, "data": {}, "at": "2026-01-02T03:04:05Z"}
    with serving(Reply(200, f"id: 1\ndata: {json.dumps(event)}\n\n")) as server, Client(server.url, "t") as client:
        assert [one.seq for one in client.studies.events("digits", follow=False)] == [1]
    assert [one.path for one in server.asked] == ["/api/v1/studies/digits/events?follow=false"]


def test_curves_are_taken_up_where_the_stream_broke() -> None:
    """In the middle of a line, with its first bytes sent."""
    line = curve(4)
    cut = f"{len(line):x}\r\n{line}\r\nff\r\n{line[:9]}"
    script = [Reply(0), Reply(200, cut, {"Transfer-Encoding": "chunked", "Connection": "close"}), Reply(200, curve(5))]
    with serving(*script) as server, Client(server.url, "t", retries=1) as client:
        assert [one.number for one in client.studies.curves("digits")] == [4, 5]
    assert [one.path.partition("?")[2] for one in server.asked] == ["after=-1", "after=-1", "after=4"]


def test_curves_that_never_come_are_given_up() -> None:
    with serving(Reply(0)) as server, Client(server.url, "t", retries=2) as client, pytest.raises(Unreachable):
        list(client.studies.curves("digits"))
    assert len(server.asked) == 3


@pytest.mark.parametrize("command", [["replay", "s"], ["whatif", "s", *MEDIAN]])
def test_what_derives_here_says_how_to_install_what_is_missing(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = {"optuna", "sklearn"}
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name in gone else find_spec(name))
    with serving(problem(404, "not_found")) as server:
        at(server.url, monkeypatch)
        assert run(command) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error == f"error: {command[0]} needs optuna, scikit-learn on this machine"
    assert "pip install 'ladder-hpo[server]'" in hint
    assert server.asked == []


def test_optuna_is_wanted_only_for_its_own_warm_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    file = tmp_path / "study.yaml"
    file.write_text("name: digits\nobjectives: [{metric: acc, direction: maximize}]\nwarm_start: {studies: [old]}\n")
    with serving(Reply(201, STUDY)) as server:
        at(server.url, monkeypatch)
        assert run(["study", "create", "-f", str(file), "--warm-start", "older", "--warm-start", "oldest"]) == 0
        assert run(["study", "create", "-f", str(file), "--warm-start-optuna", "sqlite:///old.db"]) == 1
    assert server.asked[0].json()["warm_start"] == {"studies": ["old", "older", "oldest"]}
    assert "--warm-start-optuna needs optuna" in capsys.readouterr().err
    assert len(server.asked) == 1


def test_only_the_libraries_that_are_named_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "cmaes" else find_spec(name))
    extras.need("this", ("optuna",))
    with pytest.raises(LocalError, match="this needs cmaes"):
        extras.need("this")


def whatif(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    study = STUDY | {
        "sampler": {"type": "random", "seed": 1},
        "scheduler": {"type": "fifo", "max_resource": 9},
        "budget": {"max_trials": 2},
    }
    lines = curve(0, steps=[1, 2], losses=[-0.5, -0.6], seconds=[1, 1]) + curve(1, losses=[None], state="pruned")
    with serving(Reply(200, study), Reply(200, lines)) as server:
        at(server.url, monkeypatch)
        return run(["whatif", "digits", *arguments])


def test_each_set_belongs_to_the_scheduler_before_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--scheduler", "median", "--set", "grace=2", "--scheduler=asha", "--set=reduction_factor=4"]
    given += ["--set", "pruners=[{type: patience, patience: 2}]", *MEDIAN, "--set", "scheduler.min_trials=1", "--json"]
    assert whatif(given, monkeypatch) == 0
    own, first, second, third = json.loads(capsys.readouterr().out)["schedulers"]
    assert own["scheduler"]["type"] == "fifo"
    assert (first["scheduler"]["grace"], first["scheduler"]["min_trials"]) == (2, 5)
    assert (second["scheduler"]["reduction_factor"], second["pruners"][0]["patience"]) == (4, 2)
    assert (third["scheduler"]["grace"], third["scheduler"]["min_trials"], third["pruners"]) == (1, 1, [])
    assert second["label"] == "asha reduction_factor=4 pruners=[{type: patience, patience: 2}]"


def test_an_estimate_is_marked_with_what_is_certain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert whatif([*MEDIAN, "--workers", "1"], monkeypatch) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].split() == ["recorded", "2", "3", "0.6", "0", "2", "-"]
    assert shown[3].split() == ["median", "2", "3", "~0.6", "0", "2", "1"]
    assert shown[4] == "1 worker, trials in the order of their creation"
    assert "median: wanted 1 trial trained further than recorded, by 1 epoch to" in shown[6]
    assert "Certain are the first 2 epochs, which find 0.6 at trial 0" in shown[6]


@pytest.mark.parametrize(
    ("content", "told"),
    [("a: fifo\n", "want a mapping of a scheduler's fields, got 'fifo'"), ("- a\n", "want a mapping")],
)
def test_a_file_of_something_else_is_refused(
    content: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "schedulers.yaml"
    file.write_text(content)
    assert whatif(["--file", str(file)], monkeypatch) == 1
    assert told in capsys.readouterr().err
