"""Waits of the client, a thousand times shorter: no test here is about their length."""

import pytest


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "http.BACKOFF_S",
        "study.POLL_S",
        "events.PAUSE_S",
        "curves.PAUSE_S",
        "watch.POLL_S",
        "watch.SHORTEST_S",
        "trial_calls.POLL_S",
        "external.WAIT_S",
    ):
        monkeypatch.setattr(f"ladder.{name}", 0.001)
