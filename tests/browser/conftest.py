"""A real Chromium on a real API: each test gets a logged-in page that notes what a browser complains about."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from httpx import Client
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from api.main import create_app
from hpo.settings import Settings
from hpo.storage.keys import Scope, add_key, ensure_project
from ladder.stack_postgres import Postgres
from ladder.stack_redis import Redis
from tests.conftest import TEMPLATE
from tests.integration.api.caller import Api, Hand
from tests.integration.api.server import serve

expect.set_options(timeout=20_000)  # a busy machine is slow; what must be quick says so itself
_projects = count(1)
SCOPES: tuple[Scope, ...] = ("admin", "write", "read", "worker")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def web_settings(postgres: Postgres, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    postgres.create_database("web", template=TEMPLATE)
    return Settings(
        database_url=postgres.url("web"),
        redis_url=redis_server.url,
        checkpoint_root=tmp_path_factory.mktemp("checkpoints"),
        requests_per_s=10_000,
    )


@pytest.fixture(scope="session")
def web_hand(web_settings: Settings) -> Iterator[Hand]:
    with closing(Hand(web_settings)) as hand:
        yield hand


@dataclass(frozen=True)
class Site:
    """A served API with the dashboard; ``project`` makes one with keys of its own."""

    app: FastAPI
    url: str
    client: Client
    hand: Hand

    def project(self) -> Api:
        name = f"browser-{next(_projects)}"

        def keys(tx: object) -> dict[str, str]:
            return {scope: add_key(tx, project, scope=scope, name="test") for scope in SCOPES}  # type: ignore[arg-type]

        project = self.hand.db.write(lambda tx: ensure_project(tx, name))
        return Api(self.client, self.hand, project, self.hand.db.write(keys))


@pytest.fixture(scope="session")
def site(web_settings: Settings, web_hand: Hand) -> Iterator[Site]:
    app = create_app(web_settings)
    with serve(app) as url, Client(base_url=url, timeout=10) as client:
        yield Site(app, url, client, web_hand)


@dataclass
class Visit:
    """A browser of one user. ``allow`` names addresses whose failure the test itself has brought about."""

    page: Page
    url: str
    said: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    allow: tuple[str, ...] = ()

    def go(self, path: str) -> Page:
        self.page.goto(self.url + path, wait_until="domcontentloaded")  # figures load after the page
        return self.page

    def hear(self, message: ConsoleMessage) -> None:
        where = message.location.get("url", "")
        if not any(part in where for part in self.allow):
            self.said.append(f"{message.type}: {message.text} ({where})")

    def asked(self, request: Request) -> None:
        if urlsplit(request.url).scheme not in ("data", "blob") and not request.url.startswith(
            self.url.split("/", 3)[0] + "//" + urlsplit(self.url).netloc
        ):
            self.foreign.append(request.url)

    def assert_quiet(self) -> None:
        """Nothing on the console, no script error, no request to another host."""
        assert self.said == []
        assert self.foreign == []

    def bring_figures_into_view(self) -> int:
        """Only then are they asked for; returns how many there are."""
        islands = self.page.locator("[data-plot]")
        for index in range(islands.count()):
            islands.nth(index).scroll_into_view_if_needed()
        return islands.count()

    def fits(self) -> None:
        """The page is no wider than the screen."""
        wide, screen = self.page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert wide <= screen, f"{self.page.url} is {wide} px wide on a screen of {screen}"


Open = Callable[..., Visit]


@pytest.fixture
def open_browser(chromium: Browser, site: Site) -> Iterator[Open]:
    """``open_browser(api)`` gives a Visit logged in with the key of a scope; several may be open."""
    contexts: list[BrowserContext] = []

    def open_one(
        api: Api, *, scope: str = "admin", width: int = 1280, theme: str = "light", url: str | None = None
    ) -> Visit:
        context = chromium.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if theme == "dark" else "light",
            reduced_motion="reduce",
        )
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        visit = Visit(page, url or site.url)
        page.on("console", visit.hear)
        page.on("pageerror", lambda error: visit.said.append(f"script error: {error}"))
        page.on("request", visit.asked)
        page.goto(f"{visit.url}/login#{api.tokens[scope]}")
        page.wait_for_selector("h1:has-text('Studies')")
        return visit

    yield open_one
    for context in contexts:
        context.close()
