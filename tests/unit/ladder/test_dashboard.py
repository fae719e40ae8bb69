"""The way of a key into a browser: by a file that only its owner reads, and only to the local stack."""

import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from ladder.cli import run
from ladder.dashboard import login_url, page_url
from ladder.home import Home, write_private

URL, TOKEN = "http://127.0.0.1:8123", "ldr_a_secret"


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the browser was given to open; the local stack stands at URL."""
    for name in ("URL", "TOKEN"):
        monkeypatch.delenv(f"LADDER_{name}", raising=False)
    monkeypatch.setenv("LADDER_HOME", str(tmp_path))
    write_private(Home.default().client_file, {"url": URL, "token": TOKEN})
    found: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: found.append(url) or True)
    return found


def test_a_login_by_link_keeps_the_key_behind_the_hash_where_no_server_sees_it() -> None:
    parts = urlsplit(login_url(URL, TOKEN, "my study"))
    assert (parts.path, unquote(parts.query), parts.fragment) == ("/login", "next=/studies/my study", TOKEN)
    assert page_url(URL) == f"{URL}/"


def test_the_key_is_no_argument_of_the_browser(opened: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["open", "digits"]) == 0
    (given,) = opened
    assert TOKEN not in given
    page = Path(urlsplit(given).path)
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert f"{URL}/login?next=/studies/digits#{TOKEN}" in page.read_text()
    assert capsys.readouterr().out == f"{URL}/studies/digits\n"


def test_the_local_key_goes_to_no_other_server(opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADDER_URL", "http://127.0.0.1:9")
    assert run(["open"]) == 0
    assert opened == ["http://127.0.0.1:9/"]


def test_a_machine_without_a_browser_is_told_what_to_open(
    opened: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("webbrowser.open", lambda url: False)
    monkeypatch.setenv("LADDER_URL", "http://127.0.0.1:9")
    assert run(["open"]) == 1
    assert "try: open http://127.0.0.1:9/" in capsys.readouterr().err
