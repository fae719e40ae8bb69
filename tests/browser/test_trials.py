"""The table of trials and the page of one, while they are open."""

import re

from playwright.sync_api import expect

from tests.browser.conftest import Open, Site


def test_what_is_ticked_stays_ticked_as_the_table_moves_on(site: Site, open_browser: Open) -> None:
    api = site.project()
    api.create("s", budget={"max_trials": 4})
    first, second = api.ask("s", count=2)
    api.report(first, 1, 0.5)
    visit = open_browser(api)
    page = visit.go("/studies/s/trials")
    expect(page.locator("#live-text")).to_have_text("live")
    page.get_by_label("Trial 0", exact=True).check()
    api.report(second, 1, 0.25)
    expect(page.locator("#t-1")).to_contain_text("0.25")
    expect(page.get_by_label("Trial 0", exact=True)).to_be_checked()
    expect(page.get_by_label("Trial 1", exact=True)).not_to_be_checked()
    page.get_by_label("Trial 1", exact=True).check()
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url("**/compare?t=s%2F1%2Cs%2F0")
    visit.assert_quiet()


def test_columns_are_remembered_for_the_study(site: Site, open_browser: Open) -> None:
    api = site.project()
    api.create("s")
    visit = open_browser(api)
    page = visit.go("/studies/s/trials")
    page.locator("#columns summary").click()
    page.get_by_label("Updated").check()
    page.get_by_role("button", name="Show these").click()
    expect(page.get_by_role("columnheader", name="Updated")).to_be_visible()
    visit.go("/studies/s/trials?state=queued")
    expect(page.get_by_role("columnheader", name="Updated")).to_be_visible()
    assert "state=queued" in page.url
    page.locator("#columns summary").click()
    page.get_by_role("link", name="Usual columns").click()
    expect(page.get_by_role("columnheader", name="Updated")).to_have_count(0)
    visit.assert_quiet()


def test_the_log_of_a_running_attempt_goes_on_by_itself(site: Site, open_browser: Open) -> None:
    api = site.project()
    api.create("s")
    [trial] = api.ask("s")
    visit = open_browser(api)
    page = visit.go("/studies/s/trials/0")
    hostile = "<img src=x onerror=alert(1)>"
    lines = [{"position": 1, "at": "2026-01-02T03:04:05Z", "stream": "err", "text": hostile}]
    assert api.post("/studies/s/trials/0/logs", {"lease": trial["lease"]["token"], "lines": lines},
                    scope="worker").status_code == 200  # fmt: skip
    expect(page.locator("pre.log")).to_contain_text(hostile)
    visit.assert_quiet()


def test_a_running_trial_counts_its_lease_down(site: Site, open_browser: Open) -> None:
    api = site.project()
    api.create("s")
    api.ask("s")
    visit = open_browser(api)
    lease = visit.go("/studies/s/trials/0").locator("time[data-until]")
    expect(lease).to_have_text(re.compile(r"^[1-9]\d* s left$"))
    visit.assert_quiet()


def test_a_command_is_copied_where_the_browser_has_no_clipboard_for_pages(site: Site, open_browser: Open) -> None:
    visit = open_browser(site.project())
    visit.page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")  # plain HTTP
    page = visit.go("/workers")
    page.locator("[data-copy]").first.click()
    expect(page.locator(".toast")).to_have_text("Copied.")
    visit.assert_quiet()
