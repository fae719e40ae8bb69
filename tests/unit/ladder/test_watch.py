"""Watching a study: when it looks again, and what it shows."""

import io
import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from api.schemas.studies import RungRead, StudyRead
from api.schemas.trials import TrialRead
from api.schemas.workers import WorkerRead
from ladder.client import Client
from ladder.errors import ApiError, Unreachable
from ladder.watch import patient_events, show, snapshots
from ladder.watch_view import Curve, Snapshot, render, sparkline
from tests.unit.ladder.serving import RUNG, STUDY, Reply, Scripted, problem, serving, stream
from tests.unit.ladder.test_client import TRIAL

RUNNING = {**TRIAL, "number": 5, "state": "running", "worker": "n1", "params": {"lr": 0.01}, "last_step": 2,
           "target_step": 9}  # fmt: skip
WORKER = {
    "name": "n1", "queue": "cpu", "host": "h", "device": "cpu", "state": "busy", "trial": "digits/5",
    "started_at": "2026-01-02T03:04:05Z", "seen_at": "2026-01-02T03:04:05Z", "stats": {"util": 0.5},
}  # fmt: skip


def step(number: int) -> dict[str, Any]:
    return {"step": number, "attempt": 1, "metrics": {"val_acc": number / 10}, "seconds": 1.0,
            "at": "2026-01-02T03:04:05Z"}  # fmt: skip


class Routed:
    """Gives one script per route, since the stream and the looks come in no fixed order."""

    def __init__(self, server: Scripted, **scripts: list[Reply]) -> None:
        self._server = server
        self._scripts = scripts

    def pop(self, _index: int) -> Reply:
        path = self._server.asked[-1].path
        keys = ("events", "rungs", "metrics", "trials", "workers")
        key = next((key for key in keys if f"/{key}" in path), "study")
        script = self._scripts[key]
        return script.pop(0) if len(script) > 1 else script[0]

    def __len__(self) -> int:
        return 2


def study(**changes: Any) -> Reply:
    return Reply(200, {**STUDY, **changes})


def watched(events: list[Reply], looks: list[Reply]) -> list[Snapshot]:
    with serving(Reply()) as server, Client(server.url, "t", retries=0) as client:
        server.script = Routed(  # type: ignore[assignment]
            server,
            study=looks,
            rungs=[Reply(200, {"items": [RUNG]})],
            events=events,
            trials=[Reply(200, {"items": [RUNNING]})],
            metrics=[Reply(200, {"items": [step(1), step(2)]}), Reply(200, {"items": []})],
            workers=[Reply(200, {"items": [WORKER]})],
        )
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


def shown(width: int = 120, running: tuple[Curve, ...] = (), **changes: Any) -> str:
    out = io.StringIO()
    workers = (WorkerRead.model_validate(WORKER),)
    study = StudyRead.model_validate({**STUDY, **changes})
    snapshot = Snapshot(study, (RungRead.model_validate(RUNG),), running, workers)
    Console(file=out, width=width).print(render(snapshot, datetime(2026, 1, 2, 3, 14, 5, tzinfo=UTC)))
    return out.getvalue()


def test_the_view_shows_state_progress_best_and_the_time_that_is_left() -> None:
    text = shown(budget={"max_trials": 11})
    assert "digits  running   running 2  complete 1" in text
    assert "1 of 11 trials   12 epochs spent   1.7 h left at most" in text
    assert "best val_acc 0.8750 (trial 3, 3 epochs)" in text
    assert "left" not in shown(state="finished")


def test_the_view_shows_the_rungs_with_bars() -> None:
    row = next(line for line in shown().splitlines() if line.strip().startswith("0"))
    assert row.split() == ["0", "0", "1", "4", "1", "2", "1", "0.75", "█████▓▓▓▓▓▓▓▓▓▓░░░░░"]


def test_the_view_shows_running_trials_with_their_curves_and_workers() -> None:
    curve = Curve(TrialRead.model_validate(RUNNING), ((1, 0.1), (2, 0.5), (3, 0.9)))
    lines = [line.split() for line in shown(running=(curve,)).splitlines()]
    assert ["5", "2/9", "0.9", "▁▅█", "n1", "lr=0.01"] in lines
    assert ["n1", "busy", "cpu", "50%", "-", "digits/5"] in lines


def test_the_view_says_why_a_study_does_not_move_and_what_helps() -> None:
    condition = {
        "type": "WorkersAvailable", "status": False, "reason": "x", "message": "queue gpu has 0 live workers",
        "command": "ladder worker --queue gpu",
    }  # fmt: skip
    text = shown(conditions=[condition])
    assert "queue gpu has 0 live workers\n" in "\n".join(map(str.rstrip, text.splitlines())) + "\n"
    assert "  ladder worker --queue gpu" in text
    assert "live workers" not in shown(conditions=[{**condition, "status": True}])


@pytest.mark.parametrize(
    ("values", "drawn"), [([], ""), ([0.5], "▅"), ([2, 2], "▅▅"), ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█")]
)
def test_a_sparkline_runs_from_the_lowest_to_the_highest_value(values: list[float], drawn: str) -> None:
    assert sparkline(values) == drawn


def test_a_long_curve_is_drawn_by_its_newest_values() -> None:
    assert sparkline([9.0, 0.0, 1.0, 2.0], width=3) == "▁▅█"  # of 7 eighths half is rounded to 4


def test_a_look_asks_for_the_new_steps_of_running_trials_only() -> None:
    seen = watched([problem(404, "not_found")], [study(), study(usage={"epochs": 13}), study(state="finished")])
    assert [one.running[0].steps for one in seen[:-1]] == [((1, 0.1), (2, 0.2))] * (len(seen) - 1)
    assert seen[-1].running == ()


def test_events_go_on_by_asking_again_where_the_stream_cannot_be_kept_open() -> None:
    first, second = {"seq": 1, "type": "study-updated"}, {"seq": 2, "type": "study-updated"}
    # A stream that breaks, a look at what is there, and the stream again.
    script = [study(), Reply(0), stream(first), study(state="finished"), stream(second)]
    with serving(*script) as server, Client(server.url, "t", retries=0) as client:
        assert [event.seq for event in patient_events(client, "digits")] == [1, 2]
    paths = [asked.path.rpartition("/")[2] for asked in server.asked]
    assert paths == ["digits", "events", "events?follow=false", "digits", "events"]
    assert server.asked[-1].headers["last-event-id"] == "1"


def test_nothing_moves_on_a_terminal_without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    ended = study(state="finished")
    script = [ended, ended, stream({"seq": 1, "type": "study-updated"}), ended]
    with serving(*script) as server, Client(server.url, "t", retries=0) as client:
        assert show(client, "digits", out=Console(file=out, force_terminal=True)).succeeded
    assert out.getvalue() == "03:04:05  digits  study-updated\n"


def test_on_a_terminal_the_view_is_drawn_anew_with_each_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = io.StringIO()
    with serving(Reply()) as server, Client(server.url, "t", retries=0) as client:
        server.script = Routed(  # type: ignore[assignment]
            server, study=[study(state="finished")], rungs=[Reply(200, {"items": [RUNG]})], events=[stream()]
        )
        assert show(client, "digits", out=Console(file=out, force_terminal=True, width=120)).succeeded
    assert "digits" in out.getvalue()
    assert "█████" in out.getvalue()
