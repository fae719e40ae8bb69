"""Every page in every state, light and dark, wide and narrow: quiet, self-contained, fitting the screen, accessible."""

from dataclasses import dataclass

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from hpo.settings import Settings
from tests.browser.conftest import Open, Site, Visit
from tests.browser.data import Shown, fill

PROBLEM = '{"title": "Internal error", "detail": "down", "status": 500, "code": "internal", "request_id": "r1"}'
LOOKS = [(width, theme) for width in (1280, 375) for theme in ("light", "dark")]
PLOTS = "**/api/v1/**/plots/**"
STATES = ["empty", "loading", "error", "populated", "crowd"]


@dataclass(frozen=True)
class Case:
    """A page's address; ``{s}`` is the study of the state. ``alone`` has no study."""

    name: str
    path: str


CASES = [
    Case("studies", "/"),
    Case("new", "/studies/new"),
    Case("overview", "/studies/{s}"),
    Case("rungs", "/studies/{s}/rungs"),
    Case("params", "/studies/{s}/params"),
    Case("pareto", "/studies/{s}/pareto"),
    Case("timeline", "/studies/{s}/timeline"),
    Case("config", "/studies/{s}/config"),
    Case("events", "/studies/{s}/events"),
    Case("trials", "/studies/{s}/trials"),
    Case("trial", "/studies/{s}/trials/0"),
    Case("workers", "/workers"),
    Case("compare", "/compare?s={s}"),
    Case("settings", "/settings"),
    Case("docs", "/docs"),
]
ALIKE = {"settings", "docs"}  # they show nothing of studies
OF_STUDY = {"overview", "rungs", "params", "pareto", "timeline", "config", "events", "trials", "trial", "compare"}


@pytest.fixture(scope="module")
def shown(site: Site, web_settings: Settings) -> Shown:
    assert web_settings.database_url is not None
    return fill(site, web_settings.database_url.get_secret_value().replace("+psycopg2", ""))


@pytest.fixture(scope="module")
def axe() -> Axe:
    return Axe()


def serious(axe: Axe, page: Page) -> list[str]:
    found = axe.run(
        page, options={"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
    )
    return [
        f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:200]}"
        for one in found.response["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def look(visit: Visit, axe: Axe) -> None:
    """All looks of the page that is open."""
    for width, theme in LOOKS:
        visit.page.set_viewport_size({"width": width, "height": 900})
        visit.page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        visit.fits()
        assert serious(axe, visit.page) == [], f"{visit.page.url} at {width} px, {theme}"


def fail(route: Route) -> None:
    route.fulfill(status=500, content_type="application/problem+json", headers={"X-Request-Id": "r1"}, body=PROBLEM)


def fail_to_refresh(visit: Visit) -> None:
    """What is drawn anew fails: the page keeps what it shows and says so."""
    page = visit.page
    if page.locator("#data").count() == 0:
        return  # nothing of it is live
    visit.allow = (*visit.allow, page.url)
    page.route(page.url, fail)
    page.evaluate("document.getElementById('live').dispatchEvent(new CustomEvent('study-updated', {bubbles: true}))")
    expect(page.locator(".toast")).to_contain_text("Could not refresh (500, request r1).")
    expect(page.locator(".toast button")).to_have_text("Retry")
    expect(page.locator("#data")).not_to_be_empty()


@pytest.mark.parametrize(
    ("state", "case"),
    [
        pytest.param(state, case, id=f"{state}-{case.name}")
        for state in STATES
        for case in CASES
        if state == "populated" or case.name not in ALIKE
    ],
)
def test_a_page_is_quiet_fits_and_is_accessible(
    case: Case, state: str, shown: Shown, open_browser: Open, axe: Axe
) -> None:
    """Figures that are held back show their room; those that fail say so and offer to try again, as the page does."""
    api = shown.nobody if state == "empty" and case.name not in OF_STUDY else shown.api
    visit = open_browser(api)
    study = {"empty": "empty", "crowd": "crowd"}.get(state, "populated")
    page = visit.page
    held: list[Route] = []
    if state == "loading":
        page.route(PLOTS, lambda route: held.append(route))
    if state == "error":
        visit.allow = ("/plots/",)
        page.route(PLOTS, fail)
    if case.name == "trial" and state == "empty":
        visit.allow = ("/trials/0",)  # there is none: the page of a 404
    visit.go(case.path.replace("{s}", study))
    figures = visit.bring_figures_into_view()
    if state == "loading":
        assert page.locator("[data-plot] .skeleton").count() == figures
    elif state == "error":
        expect(page.locator("[data-plot] button:has-text('Retry')")).to_have_count(figures)
        fail_to_refresh(visit)
    else:
        expect(page.locator("[data-plot] .loading")).to_have_count(0)
    look(visit, axe)
    visit.assert_quiet()
    for route in held:
        route.abort()
