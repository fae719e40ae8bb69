"""P6: who trains, without JavaScript."""

import re

import pytest

from api.dashboard.pages import workers as workers_page
from tests.integration.api.caller import Api
from tests.integration.dashboard.conftest import Pages


def put(api: Api, name: str, queue: str, host: str) -> None:
    body = {"queue": queue, "host": host, "protocol_version": 3}
    assert api.call("PUT", f"/workers/{name}", body, scope="worker").status_code == 200


def rows(html: str) -> list[str]:
    return re.findall(r'id="w-([^"]+)"', html)


def test_workers_are_found_by_queue_and_host_and_all_are_counted(
    api: Api, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, queue, host in (("a", "cpu", "n1"), ("b", "gpu", "n1"), ("c", "gpu", "n2"), ("d", "gpu", "n2")):
        put(api, name, queue, host)
    assert rows(pages.get("/workers")) == ["a", "b", "c", "d"]
    assert rows(pages.get("/workers?queue=gpu&host=")) == ["b", "c", "d"]
    assert rows(pages.get("/workers?queue=gpu&host=n2")) == ["c", "d"]
    assert "No worker matches" in pages.get("/workers?host=n3")
    monkeypatch.setattr(workers_page, "PAGE", 2)
    first = pages.get("/workers?queue=gpu")
    [on] = re.findall(r'rel="next" href="([^"]+)"', first)
    assert rows(first) + rows(pages.get(on.replace("&amp;", "&"))) == ["b", "c", "d"]
    assert "4 idle" in pages.text("/workers?queue=gpu")
