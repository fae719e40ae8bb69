"""Durations, and the files that tell where the local stack is."""

import stat
from datetime import timedelta
from pathlib import Path

import pytest

from ladder.home import connection, read_json, write_private
from ladder.study import seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [(90, 90.0), ("90", 90.0), ("90s", 90.0), ("1.5m", 90.0), ("2h", 7200.0), ("1d", 86400.0), ("250ms", 0.25)],
)
def test_durations_are_read_with_their_units(text: str | float, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)
    assert seconds(timedelta(seconds=expected)) == expected


@pytest.mark.parametrize("text", ["", "h", "2 weeks", "1h30m", "-"])
def test_a_duration_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds(text)


def test_the_local_stacks_token_goes_to_the_local_stack_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LADDER_URL", "LADDER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LADDER_HOME", str(tmp_path))
    write_private(tmp_path / "client.json", {"url": "http://127.0.0.1:1234", "token": "ldr_local"})
    assert connection(None, None) == ("http://127.0.0.1:1234", "ldr_local")
    assert connection("http://127.0.0.1:1234/", None) == ("http://127.0.0.1:1234", "ldr_local")
    assert connection("https://elsewhere.example", None) == ("https://elsewhere.example", None)
    monkeypatch.setenv("LADDER_URL", "https://team.example")
    assert connection(None, None) == ("https://team.example", None)
    monkeypatch.setenv("LADDER_TOKEN", "ldr_team")
    assert connection(None, None) == ("https://team.example", "ldr_team")
    assert connection(None, "ldr_given") == ("https://team.example", "ldr_given")


def test_without_any_setting_the_default_port_on_this_machine_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LADDER_URL", "LADDER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LADDER_HOME", str(tmp_path / "none"))
    assert connection(None, None) == ("http://127.0.0.1:8000", None)


def test_files_with_secrets_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    write_private(path, {"a": "1"})
    write_private(path, {"a": "2"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_json(path) == {"a": "2"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["secrets.json"]
