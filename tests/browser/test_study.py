"""P3 with JavaScript: the rungs view under the pointer and the arrow keys, brushes, and a report that moves a dot."""

import re

from playwright.sync_api import expect

from tests.browser.conftest import Open, Site
from tests.browser.data import ASHA, OBJECTIVE, SPACE, populated


def test_pointing_at_a_trial_names_it_and_traces_its_way(site: Site, open_browser: Open) -> None:
    api = site.project()
    populated(api)
    visit = open_browser(api)
    page = visit.go("/studies/populated/rungs")
    dot = page.locator("#rungs-svg a", has_text=re.compile("went on")).first
    said = dot.locator("title").text_content()
    dot.focus()
    expect(page.locator("#rungs-says")).to_have_text(said or "-")
    expect(page.locator("#way")).to_have_attribute("d", re.compile(r"^M\d"))
    page.keyboard.press("ArrowDown")
    expect(page.locator("#rungs-says")).not_to_have_text(said or "-")
    with page.expect_navigation(url="**/studies/populated/trials/*"):
        page.keyboard.press("Enter")
    visit.assert_quiet()


def test_a_report_moves_a_trial_up_while_the_page_is_open(site: Site, open_browser: Open) -> None:
    api = site.project()
    api.create("s", objectives=OBJECTIVE, search_space=SPACE, scheduler=ASHA, budget={"max_trials": 9})
    [trial] = api.ask("s")
    visit = open_browser(api)
    page = visit.go("/studies/s/rungs")
    expect(page.locator("#rungs-svg .f-running a")).to_have_count(1)
    expect(page.locator("#live.on")).to_be_visible()
    api.report(trial, 1, metrics={"val_acc": 0.5, "val_loss": 1.0})
    expect(page.locator("#rungs-svg .f-waiting a")).to_have_count(1)
    expect(page.locator("#rungs-svg .f-running a")).to_have_count(0)
    visit.assert_quiet()


def test_a_brush_and_the_table_of_top_trials_choose_each_other(site: Site, open_browser: Open) -> None:
    api = site.project()
    populated(api)
    visit = open_browser(api)
    page = visit.go("/studies/populated")
    rows = page.locator("#top tbody tr:visible")
    every = rows.count()
    assert every > 2
    page.locator("#linked [data-plot]").scroll_into_view_if_needed()
    area = page.locator("#linked .nsewdrag").first
    expect(area).to_be_visible(timeout=20_000)  # the first figure of a server brings Optuna with it
    rows.nth(1).get_by_role("button").click()
    expect(rows).to_have_count(1)
    expect(page.locator("#brushed")).to_contain_text("1 of the best")
    page.get_by_role("button", name="show all").click()
    expect(rows).to_have_count(every)
    box = area.bounding_box()
    assert box is not None
    # The upper half of the first axis, that of the objective: the better ones.
    x, y = box["x"] + box["width"] * 0.2 / 3.4, box["y"] + box["height"] / 2
    page.mouse.move(x - 20, box["y"] + 2)
    page.mouse.down()
    page.mouse.move(x + 20, y, steps=4)
    page.mouse.up()
    expect(rows).not_to_have_count(every)
    left = rows.count()
    assert 0 < left < every
    expect(page.locator("#brushed")).to_contain_text(f"{left} of the best")
    visit.assert_quiet()
