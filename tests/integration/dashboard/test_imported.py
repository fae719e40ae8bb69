"""A study that has run elsewhere has fewer facts than one of ours: every page of it must do without them."""

import pytest

from tests.integration.api.caller import Api
from tests.integration.api.test_imports import MIXED, page
from tests.integration.dashboard.conftest import Pages

TABS = ("", "/rungs", "/trials", "/params", "/pareto", "/timeline", "/config", "/events")


@pytest.mark.parametrize("path", [*TABS, *(f"/trials/{number}" for number in range(4)), "/trials.csv"])
def test_every_page_of_an_imported_study_can_be_shown(api: Api, pages: Pages, path: str) -> None:
    assert api.post("/studies/import", page(*MIXED)).status_code == 201
    assert pages.ask(f"/studies/old{path}").status_code == 200


def test_what_an_imported_trial_failed_of_is_told(api: Api, pages: Pages) -> None:
    assert api.post("/studies/import", page(*MIXED)).status_code == 201
    assert "out of memory" in pages.text("/studies/old/trials/2")
