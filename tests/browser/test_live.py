"""Pages follow what happens: within two seconds, across a restart of the server, and without a mouse."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Page, expect

from api.main import create_app
from hpo.settings import Settings
from tests.browser.conftest import Open, Site
from tests.browser.data import ASHA, OBJECTIVE, SPACE, populated
from tests.integration.api.caller import Api

SOON_MS = 2000


@contextmanager
def serving(app: FastAPI, port: int = 0) -> Iterator[int]:
    """Serve on a port of the loopback and cut every connection at the end, as a kill does."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=0))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True
            thread.join(timeout=10)


def begin(api: Api, name: str) -> dict[str, object]:
    api.create(name, objectives=OBJECTIVE, search_space=SPACE, scheduler=ASHA)
    [trial] = api.ask(name)
    return trial


@pytest.mark.parametrize("path", ["/studies/live/trials", "/studies/live/trials/0", "/studies/live", "/"])
def test_a_reported_epoch_shows_within_two_seconds(path: str, site: Site, open_browser: Open) -> None:
    api = site.project()
    trial = begin(api, "live")
    visit = open_browser(api)
    page = visit.go(path)
    expect(page.locator("#live")).to_have_class(re.compile("on"))
    assert api.report(trial, 1, metrics={"val_acc": 0.8123}).status_code == 200
    expect(page.get_by_text("0.8123").first).to_be_visible(timeout=SOON_MS)
    visit.assert_quiet()


def test_a_page_outlives_a_restart_of_its_server_and_misses_nothing(
    site: Site, web_settings: Settings, open_browser: Open
) -> None:
    api = site.project()
    trial = begin(api, "restart")
    with serving(create_app(web_settings)) as port:
        visit = open_browser(api, url=f"http://127.0.0.1:{port}")
        visit.allow = ("127.0.0.1",)  # the browser itself notes that the server was away
        page = visit.go("/studies/restart/trials")
        live = page.locator("#live")
        expect(live).to_have_class(re.compile("on"))
    expect(live).to_have_text(re.compile("live lost"))
    # Another replica takes the report while ours is away.
    assert api.report(trial, 1, metrics={"val_acc": 0.7654}).status_code == 200
    with serving(create_app(web_settings), port):
        expect(page.get_by_text("0.7654").first).to_be_visible(timeout=12_000)
        expect(live).to_have_class(re.compile("on"))


def press_to(page: Page, name: str, role: str = "button", most: int = 120) -> None:
    """Tab until the element of that role and name has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        found = page.evaluate(
            "() => { const e = document.activeElement; return [e.tagName, (e.innerText || e.value || '').trim()]; }"
        )
        tags = {"button": ("BUTTON", "SUMMARY"), "link": ("A",)}[role]
        if found[0] in tags and found[1] == name:
            return
    raise AssertionError(f"no {role} {name!r} comes by pressing Tab on {page.url}")


def test_a_study_is_created_paused_resumed_and_stopped_by_keyboard_alone(site: Site, open_browser: Open) -> None:
    visit = open_browser(site.project())
    page = visit.page
    press_to(page, "New study", "link")
    page.keyboard.press("Enter")
    page.wait_for_url("**/studies/new")
    page.locator("#f-name").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("by-keyboard")
    press_to(page, "Create")
    page.keyboard.press("Enter")
    page.wait_for_url("**/studies/by-keyboard")
    for button, state in (("Pause", "paused"), ("Resume", "running"), ("Stop", "stopping")):
        press_to(page, button)
        page.keyboard.press("Enter")
        expect(page.locator("h1 ~ .state, .state").first).to_have_text(re.compile(f"{state}|finished"))
    visit.assert_quiet()


def test_every_page_works_under_a_prefix(site: Site, web_settings: Settings, open_browser: Open) -> None:
    api = site.project()
    populated(api, "prefixed")
    app = create_app(web_settings.model_copy(update={"root_path": "/ladder"}))
    with serving(app) as port:
        visit = open_browser(api, url=f"http://127.0.0.1:{port}/ladder")
        asked: list[str] = []
        visit.page.on("request", lambda request: asked.append(request.url))
        study = "/studies/prefixed"
        tabs = ("rungs", "params", "pareto", "timeline", "config", "events", "trials", "trials/0")
        for path in ["/", study, *(f"{study}/{tab}" for tab in tabs), "/studies/new", "/workers", "/compare", "/docs"]:
            visit.go(path)
            islands = visit.page.locator("[data-plot]")
            for index in range(islands.count()):
                islands.nth(index).scroll_into_view_if_needed()  # drawn when it is seen
            expect(visit.page.locator("[data-plot] .loading")).to_have_count(0)
            for link in visit.page.locator("a[href^='/'], form[action^='/']").all():
                target = link.get_attribute("href") or link.get_attribute("action") or ""
                assert target.startswith("/ladder/"), f"{path}: {target}"
        assert [one for one in asked if f":{port}/ladder/" not in one and not one.startswith(("data:", "blob:"))] == []
        visit.assert_quiet()
