"""The form of a new study while somebody fills it in."""

import re

from playwright.sync_api import expect

from tests.browser.conftest import Open, Site


def test_a_form_says_at_once_what_a_change_would_do(site: Site, open_browser: Open) -> None:
    visit = open_browser(site.project())
    page = visit.go("/studies/new")
    dry = page.locator("#dry")
    expect(dry).to_contain_text("810 without early stopping")
    page.get_by_label("max resource").fill("9")
    page.keyboard.press("Tab")
    expect(dry).to_contain_text("270 without early stopping")
    expect(page.get_by_label("reduction factor")).to_be_focused()
    page.locator("#f-search_space-5-low").fill("0")
    page.keyboard.press("Tab")
    expect(page.locator("#f-search_space-5-low-e")).to_have_text("low must be > 0 when log is true, got 0")
    page.locator("#f-search_space-5-low").fill("0.001")
    page.keyboard.press("Tab")
    expect(page.locator("#f-search_space-5-low-e")).to_have_count(0)
    visit.assert_quiet()


def test_rows_are_added_and_removed_in_place(site: Site, open_browser: Open) -> None:
    visit = open_browser(site.project())
    page = visit.go("/studies/new?template=external")
    page.get_by_role("button", name="+ parameter").click()
    page.locator("#f-search_space-1-name").fill("kind")
    page.locator("#f-search_space-1-type").select_option("categorical")
    page.locator("#f-search_space-1-choices").fill("a, b")
    page.get_by_role("button", name="Remove parameter 1").click()
    expect(page.locator("#f-search_space-0-name")).to_have_value("kind")
    expect(page.locator("#f-search_space-0-choices")).to_have_value("a, b")
    expect(page.locator("#f-search_space-1-name")).to_have_count(0)
    assert page.url.endswith("/studies/new?template=external")
    page.get_by_role("button", name="YAML").click()
    expect(page.locator("textarea[name=yaml]")).to_have_value(re.compile("choices:"))
    visit.assert_quiet()
