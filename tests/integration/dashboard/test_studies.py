"""P1 and what every page shares: the list of studies, files, problems, as a browser without JavaScript sees them."""

import base64
import json
import re

import pytest
from httpx import Response

from tests.integration.api.caller import Api
from tests.integration.dashboard.conftest import Pages


def names(html: str) -> list[str]:
    return re.findall(r'name="s" value="([^"]+)"', html)


def test_the_form_of_filters_is_answered_as_a_browser_sends_it(api: Api, pages: Pages) -> None:
    api.create("digits", advance=False)
    api.create("flowers", advance=False)
    sent = "/?name={}&state={}&label=&order_by=-updated_at"
    assert names(pages.get(sent.format("", ""))) == ["flowers", "digits"]
    assert names(pages.get(sent.format("GIT", ""))) == ["digits"]
    assert names(pages.get(sent.format("", "running"))) == ["flowers", "digits"]
    assert "No study matches" in pages.get(sent.format("", "finished"))


def test_a_label_without_a_value_is_told_and_left_out(api: Api, pages: Pages) -> None:
    api.create("digits", advance=False, labels={"team": "vision"})
    api.create("flowers", advance=False)
    assert names(pages.get("/?label=team:vision")) == ["digits"]
    assert "such as team:vision; team is left out" in pages.text("/?label=team")


@pytest.mark.parametrize("query", ["name=%00", "label=a:%00", "state=asleep", "order_by=id"])
def test_a_filter_that_cannot_be_is_refused_in_words(pages: Pages, query: str) -> None:
    assert "Request is not valid" in pages.get(f"/?{query}", 422)


@pytest.mark.parametrize("key", [[], [5, 5], ["2026", 5], ["x", "y"]])
def test_an_address_of_a_page_that_nobody_gave_out_is_refused(api: Api, pages: Pages, key: list[object]) -> None:
    for number in range(26):
        api.create(f"s{number}", advance=False)
    onward = re.search(r'rel="next" href="/\?after=([^"&]+)"', pages.get("/"))
    assert onward is not None
    given = onward[1]
    mark = json.loads(base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)))[0]
    made = base64.urlsafe_b64encode(json.dumps([mark, *key]).encode()).decode()
    assert "Request cannot be read" in pages.get(f"/?after={made.rstrip('=')}", 400)
    assert len(names(pages.get(f"/?after={given}"))) == 1


# A slash as %2F: a client would tidy dots between plain ones away.
@pytest.mark.parametrize(
    "name", ["vendor%2F..%2Fapp.js", ".%2Fapp.js", "%2Fapp.js", "..%2Frender.py", "x" * 5000, "app.js%00"]
)
def test_a_file_has_one_name(pages: Pages, name: str) -> None:
    assert pages.ask("/static/app.js").status_code == 200
    assert pages.ask(f"/static/{name}").status_code == 404


def test_whoever_is_not_logged_in_comes_to_the_login_and_a_script_is_told(pages: Pages) -> None:
    def ask(**headers: str) -> Response:
        wanted = {"Accept": "text/html", **headers}
        return pages.client.get("/workers?after=x", headers=wanted, follow_redirects=False)

    sent = ask()
    assert (sent.status_code, sent.headers["location"]) == (303, "/login?next=%2Fworkers%3Fafter%3Dx")
    assert ask(**{"HX-Request": "true"}).status_code == 401


def test_a_form_that_is_refused_leads_back_to_its_page(api: Api, pages: Pages) -> None:
    api.create("s", advance=False)
    origin = str(pages.client.base_url).rstrip("/")
    pages.client.headers["Referer"] = f"{origin}/studies/s?x=1"
    refused = pages.send("/studies/s/delete", confirm="t")
    assert refused.status_code == 422
    assert f'href="{origin}/studies/s?x=1">Back<' in refused.text
    assert ">Retry<" not in refused.text
    pages.client.headers["Referer"] = "https://elsewhere.example/studies/s"
    assert ">Back<" not in pages.send("/studies/s/delete", confirm="t").text
    del pages.client.headers["Referer"]
    assert '<a class="button primary" href="/studies/nobody">Retry</a>' in pages.get("/studies/nobody", 404)


@pytest.mark.parametrize(
    "origin", ["https://elsewhere.example", "null", "http://[", "http://127.0.0.1.elsewhere.example"]
)
def test_a_form_of_another_site_is_refused_in_words(
    api: Api, pages: Pages, monkeypatch: pytest.MonkeyPatch, origin: str
) -> None:
    api.create("s", advance=False)
    for name in ("Origin", "Referer"):
        monkeypatch.setitem(pages.client.headers, name, origin)
    refused = pages.send("/studies/s/pause")
    assert refused.status_code == 403
    assert "the form came from another site" in refused.text
    assert api.get("/studies/s").json()["state"] == "running"
    monkeypatch.setitem(pages.client.headers, "Origin", str(pages.client.base_url).rstrip("/"))
    assert pages.send("/studies/s/pause").status_code == 303


def test_a_form_may_be_as_large_as_any_body_and_no_larger(pages: Pages) -> None:
    assert pages.send("/studies/new/dry-run", tab="yaml", yaml="x" * 300_000).status_code == 200
    huge = {f"t:/{number}": "x" * 100_000 for number in range(12)}
    assert pages.send("/studies/new/dry-run", **huge).status_code == 413
    unknown = pages.client.post("/login", data=huge, headers={"Accept": "text/html"})
    assert unknown.status_code == 413
    assert "Request body is too large" in unknown.text
