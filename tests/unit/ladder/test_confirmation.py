"""Confirmations from the client and the command line: what is asked, awaited and shown."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ladder import Client
from ladder.cli import run
from ladder.errors import WaitTimeout
from ladder.watch import Snapshot, show
from tests.unit.ladder.serving import CONFIRMATION, RUNG, STUDY, Reply, Scripted, problem, serving, stream
from tests.unit.ladder.test_contests import CONTEST, RESULT, ROW
from tests.unit.ladder.test_contests import STUDY as ARM

ASKED = STUDY | {"confirm": {"seeds": 2}, "state": "finished"}
RUNNING = CONFIRMATION | {"state": "running", "recommendation": None, "test": None}
FAILED = RUNNING | {"state": "failed", "reason": "nothing worked"}


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADDER_HOME", str(tmp_path / "home"))


def at(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADDER_URL", server.url)
    monkeypatch.setenv("LADDER_TOKEN", "ldr_a_b")


def test_best_confirmed_shows_what_the_winners_kept_and_the_score(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Reply(200, CONFIRMATION)) as server:
        at(server, monkeypatch)
        assert run(["best", "digits", "--confirmed"]) == 0
        assert server.asked[-1].path == "/api/v1/studies/digits/best?confirmed=true"
        lines = capsys.readouterr().out.splitlines()
        assert run(["best", "digits", "--confirmed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == CONFIRMATION
    assert lines[1].split() == ["*", "3", "0.9", "0.86", "±", "0.127", "0.04", "2", "0", "lr=0.01"]
    assert lines[2].split() == ["-", "1", "0.89", "-", "-", "0", "2", "lr=0.02"]
    assert lines[3:] == [
        "recommended: lr=0.01",
        "final model: trial 4 of digits.confirm, trained on train and validation, checkpoint of step 9",
        "test part: accuracy 0.75 (95 % CI 0.7 to 0.8), loss 0.5 on 360 images",
    ]


def test_what_is_not_confirmed_is_told_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(problem(409, "not_confirmed", "3 of 16 trials have ended")) as server:
        at(server, monkeypatch)
        assert run(["best", "digits", "--confirmed"]) == 4
    assert capsys.readouterr().err.startswith("error: 3 of 16 trials have ended")


def test_waiting_for_a_confirmation_goes_on_past_the_end_of_the_search() -> None:
    script = [STUDY | {"confirm": {}}, ASKED | {"confirmation": RUNNING}, ASKED | {"confirmation": CONFIRMATION}]
    with serving(Reply(200, STUDY), *(Reply(200, one) for one in script)) as server, Client(server.url, "t") as client:
        found = client.studies.get("digits").wait(until="confirmed").info.confirmation
    assert found is not None
    assert found.state == "finished"
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("study", "why"),
    [
        (STUDY, "does not ask to be confirmed"),
        (ASKED | {"confirmation": FAILED}, "were not confirmed: nothing worked"),
        (ASKED | {"state": "cancelled"}, "ended cancelled, its winners unconfirmed"),
    ],
)
def test_what_cannot_be_confirmed_any_more_is_not_waited_for(study: dict[str, Any], why: str) -> None:
    with serving(Reply(200, study)) as server, Client(server.url, "t") as client:
        held = client.studies.get("digits")
        with pytest.raises(WaitTimeout, match=why):
            held.wait(until="confirmed")


def test_a_confirmation_that_does_not_come_in_time_ends_the_wait() -> None:
    with serving(Reply(200, ASKED | {"confirmation": RUNNING})) as server, Client(server.url, "t") as client:
        held = client.studies.get("digits")
        with pytest.raises(WaitTimeout, match="its winners unconfirmed, after 0"):
            held.wait(timeout=0, until="confirmed")


class Replies:
    """Answers by route: the study, the one that confirms it, and the study again once that one was read."""

    def __init__(self, server: Scripted, *, confirmation: dict[str, Any]) -> None:
        self._server = server
        self._child = ASKED | {"name": "digits.confirm", "id": CONFIRMATION["study_id"], "confirm": None}
        self._confirmation = confirmation

    def pop(self, _index: int) -> Reply:
        path = self._server.asked[-1].path
        if "last-event-id" in self._server.asked[-1].headers:
            return stream()
        if path.endswith("digits.confirm/events"):
            return stream({"seq": 1, "type": "trial-created", "trial": 0})
        if path.endswith("events"):
            confirming = {"state": "running", "study": "digits.confirm"}
            return stream(
                {"seq": 7, "type": "study-updated", "data": {"confirmation": confirming}},
                {"seq": 8, "type": "study-updated"},
            )
        if path.endswith("rungs"):
            return Reply(200, {"items": [RUNG]})
        if path.endswith((CONFIRMATION["study_id"], "digits.confirm")):
            return Reply(200, self._child)
        read = any(asked.path.endswith((CONFIRMATION["study_id"], "confirm/events")) for asked in self._server.asked)
        return Reply(200, ASKED | {"confirmation": self._confirmation if read else RUNNING})

    def __len__(self) -> int:
        return 2


def watched(confirmation: dict[str, Any]) -> tuple[Snapshot, list[str]]:
    out = io.StringIO()
    with serving(Reply()) as server, Client(server.url, "t", retries=0) as client:
        server.script = Replies(server, confirmation=confirmation)  # type: ignore[assignment]
        last = show(client, "digits", out=Console(file=out, width=500))
    return last, [line.split()[1] for line in out.getvalue().splitlines()]


def test_a_watch_follows_on_into_the_confirmation() -> None:
    last, names = watched(CONFIRMATION)
    assert names == ["digits", "digits.confirm", "digits"]
    assert last.succeeded


def test_a_watch_of_a_study_whose_confirmation_fails_has_not_succeeded() -> None:
    last, _ = watched(FAILED)
    assert last.study.state == "finished"
    assert not last.succeeded


def test_studies_that_confirm_are_listed_if_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Reply(200, {"items": []})) as server:
        at(server, monkeypatch)
        assert run(["study", "ls", "--confirmations"]) == 0
        assert run(["study", "ls"]) == 0
    assert [asked.path for asked in server.asked] == [
        "/api/v1/studies?page_size=500&confirmations=true",
        "/api/v1/studies?page_size=500",
    ]


def test_a_contest_is_shown_with_the_best_params_of_each_method(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = [ROW | {"params": {"lr": 0.01, "layers": 9}, "test_mean": 0.85}, ROW | {"params": {"lr": 0.1}}]
    with serving(Reply(200, RESULT | {"items": arms}), Reply(200, "| method |")) as server:
        at(server, monkeypatch)
        assert run(["contest", "result", "duel", "--params"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert run(["contest", "result", "duel", "--params", "--markdown"]) == 0
    assert [asked.path for asked in server.asked] == [
        "/api/v1/contests/duel/result?params=true",
        "/api/v1/contests/duel/result?format=md&params=true",
    ]
    assert [line.split() for line in lines] == [
        ["method", "lr", "layers", "test", "accuracy"],
        ["random", "0.01", "9", "0.85"],
        ["random", "0.1", "-", "-"],
    ]


def test_the_studies_of_a_contest_are_shown_with_their_tests(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    studies = [ARM | {"confirmation": "finished", "test": 0.85}, ARM | {"confirmation": "running"}]
    with serving(Reply(200, CONTEST | {"studies": studies})) as server:
        at(server, monkeypatch)
        assert run(["contest", "get", "duel"]) == 0
    first, second = (line.split()[-2:] for line in capsys.readouterr().out.splitlines()[1:3])
    assert (first, second) == (["finished", "0.85"], ["running", "-"])
