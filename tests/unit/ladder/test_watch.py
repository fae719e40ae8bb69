"""Watching a study: when it looks again, and what it shows."""

import io
import itertools
from typing import Any

import pytest
from rich.console import Console

from api.schemas.studies import RungRead, StudyRead
from ladder.client import Client
from ladder.errors import ApiError, Unreachable
from ladder.watch import Snapshot, line, render, snapshots
from tests.unit.ladder.serving import RUNG, STUDY, Reply, Scripted, problem, serving


class Routed:
    """Gives one script per route, since the stream and the looks come in no fixed order."""

    def __init__(self, server: Scripted, **scripts: list[Reply]) -> None:
        self._server = server
        self._scripts = scripts

    def pop(self, _index: int) -> Reply:
        path = self._server.asked[-1].path
        key = next((key for key in ("events", "rungs") if path.endswith(key)), "study")
        script = self._scripts[key]
        return script.pop(0) if len(script) > 1 else script[0]

    def __len__(self) -> int:
        return 2


def study(**changes: Any) -> Reply:
    return Reply(200, {**STUDY, **changes})


def watched(events: list[Reply], looks: list[Reply]) -> list[Snapshot]:
    with serving(Reply()) as server, Client(server.url, "t", retries=0) as client:
        server.script = Routed(server, study=looks, rungs=[Reply(200, {"items": [RUNG]})], events=events)  # type: ignore[assignment]
        return list(itertools.islice(snapshots(client, "digits"), 10))


def test_each_change_is_shown_once_and_the_end_is_shown() -> None:
    looks = [study(), study(), study(usage={"epochs": 13}), study(usage={"epochs": 13}), study(state="finished")]
    seen = watched([problem(404, "not_found")], looks * 1)
    assert seen[-1].succeeded
    shown = [(one.study.state, one.study.usage.epochs) for one in seen]
    assert len(shown) == len(set(shown))


def test_an_api_that_goes_and_comes_back_is_waited_for() -> None:
    gone = problem(503, "unavailable")
    seen = watched([problem(404, "not_found")], [study(), study(), gone, gone, study(state="finished")])
    assert seen[-1].ended


def test_an_api_that_stays_away_ends_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ladder.watch.PATIENCE_S", 0.01)
    with pytest.raises(Unreachable):
        watched([problem(404, "not_found")], [study(), study(), problem(503, "unavailable")])


def test_an_unknown_study_cannot_be_watched() -> None:
    with pytest.raises(ApiError):
        watched([problem(404, "not_found")], [problem(404, "not_found")])


def shown(width: int = 100, **changes: Any) -> str:
    out = io.StringIO()
    snapshot = Snapshot(StudyRead.model_validate({**STUDY, **changes}), (RungRead.model_validate(RUNG),))
    Console(file=out, width=width).print(render(snapshot))
    return out.getvalue()


def test_the_table_shows_state_counts_best_and_rungs() -> None:
    text = shown()
    assert "running 2" in text
    assert "val_acc 0.8750 (trial 3, 3 epochs)" in text
    assert "12 epochs spent" in text
    assert text.splitlines()[-1].split() == ["0", "0", "1", "4", "1", "2", "1", "0.75"]


def test_the_table_says_why_a_study_does_not_move() -> None:
    condition = {"type": "WorkersAvailable", "status": False, "reason": "x", "message": "queue gpu has 0 live workers"}
    assert "queue gpu has 0 live workers" in shown(conditions=[condition])
    assert "live workers" not in shown(conditions=[{**condition, "status": True}])


def test_a_line_holds_what_the_table_holds() -> None:
    text = line(Snapshot(StudyRead.model_validate({**STUDY, "best": None}), (RungRead.model_validate(RUNG),)))
    assert "\n" not in text
    assert "running 2" in text
    assert "best -" in text
    assert text.endswith("rungs 1:4")
