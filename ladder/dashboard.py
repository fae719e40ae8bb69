"""Addresses of the dashboard, and the way of a key into a browser."""

import webbrowser
from html import escape
from pathlib import Path
from urllib.parse import quote

from ladder.errors import LocalError
from ladder.home import Home, read_json


def page_url(url: str, study: str | None = None) -> str:
    """The list of studies, or the page of one."""
    return f"{url}/" if study is None else f"{url}/studies/{quote(study, safe='')}"


def login_url(url: str, token: str, study: str | None = None) -> str:
    """A login that needs no typing: what stands behind ``#`` is sent to no server, the login page posts it."""
    where = "" if study is None else f"?next=/studies/{quote(study, safe='')}"
    return f"{url}/login{where}#{token}"


def local_token(url: str) -> str | None:
    """The key of this user's local stack, if that is what answers at ``url``: it goes nowhere else."""
    local = read_json(Home.default().client_file)
    return local.get("token") if local.get("url") == url else None


def open_page(url: str, study: str | None = None) -> str:
    """Open the dashboard in a browser, logged in where it is that of the local stack; the address without a key.

    Raises LocalError if no browser can be started.
    """
    token = local_token(url)
    shown = page_url(url, study)
    opened = shown if token is None else _redirect(login_url(url, token, study)).as_uri()
    if not webbrowser.open(opened):
        raise LocalError("no browser could be started here", f"open {shown if token is None else opened}")
    return shown


def _redirect(address: str) -> Path:
    """A page that only this user can read and that leads on: everybody sees the arguments of a browser's process."""
    page = Home.default().path / "open.html"
    page.unlink(missing_ok=True)
    page.touch(mode=0o600)
    page.write_text(f'<meta http-equiv="refresh" content="0; url={escape(address)}"><title>Ladder</title>')
    return page
