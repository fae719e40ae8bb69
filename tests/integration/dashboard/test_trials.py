"""P4, P5 and P7: the table of trials, one trial and the comparison, as a browser without JavaScript sees them."""

import re

from tests.integration.api.caller import Api, Json
from tests.integration.dashboard.conftest import Pages

HOSTILE = "<img src=x onerror=alert(1)>"
ACCURACY = [{"metric": "acc", "direction": "maximize"}]
SPACE = [
    {"type": "float", "name": "x", "low": 0, "high": 1},
    {"type": "categorical", "name": "kind", "choices": [HOSTILE, "b"]},
]
ASHA = {"type": "asha", "min_resource": 1, "max_resource": 9, "reduction_factor": 3}


def train(api: Api, values: list[float | str], name: str = "s") -> Json:
    """Each trial reports one value at its first rung; "failed" fails with hostile words, "nan" diverges."""
    study = api.create(
        name,
        objectives=ACCURACY,
        scheduler=ASHA,
        search_space=SPACE,
        budget={"max_trials": 60},
        constraints=[{"metric": "params_m", "op": "<=", "value": 5}],
    )
    for index, value in enumerate(values):
        [trial] = api.ask(name)
        if value == "failed":
            error = {"type": "user_error", "message": f"{HOSTILE}\nsecond line", "traceback": "File train.py, line 7"}
            assert api.tell(trial, state="failed", error=error).status_code == 200
            continue
        metrics = {"acc": value, "loss": 1.5, "params_m": 8.5 if index == 1 else 1.0}
        assert api.report(trial, trial["target_step"], metrics=metrics).status_code == 200
    return study


def numbers(html: str) -> list[int]:
    return [int(number) for number in re.findall(r'<tr id="t-(\d+)"', html)]


def test_trials_come_best_first_and_by_what_the_header_says(api: Api, pages: Pages) -> None:
    train(api, [0.2, 0.9, 0.5])
    html = pages.get("/studies/s/trials")
    assert numbers(html)[:3] == [1, 2, 0]
    assert numbers(pages.get("/studies/s/trials?order_by=number"))[:3] == [0, 1, 2]
    assert numbers(pages.get("/studies/s/trials?order_by=-number"))[-1] == 0
    # 1 has the best value, but breaks a bound.
    assert 'class="best"><td><input type="checkbox" name="t" value="s/2"' in html
    assert html.count('title="breaks an outcome constraint"') == 2  # the value's and the metric's
    assert "&lt;img" in html
    assert HOSTILE not in html


def test_trials_are_ordered_by_a_param_or_their_duration(api: Api, pages: Pages) -> None:
    train(api, [0.2, 0.9, 0.5])
    shown = pages.get("/studies/s/trials?order_by=-params.x")
    by_x = sorted(numbers(shown), key=lambda n: -api.get(f"/studies/s/trials/{n}").json()["params"]["x"])
    assert numbers(shown) == by_x
    assert 'aria-sort="descending"><a href="/studies/s/trials?order_by=params.x">x' in shown
    assert set(numbers(pages.get("/studies/s/trials?order_by=-duration"))[:3]) == {0, 1, 2}
    assert numbers(pages.get("/studies/s/trials?where=metrics.params_m:gt:5&where=worker:eq:w")) == [1]
    assert "order_by must be" in pages.get("/studies/s/trials?order_by=nonsense")


def test_a_table_is_paged_on_and_back(api: Api, pages: Pages) -> None:
    train(api, [])
    api.ask("s", count=55)
    seen: list[int] = []
    html = pages.get("/studies/s/trials?order_by=number")
    assert "1–50 of" in html
    seen += numbers(html)
    [onward] = re.findall(r'rel="next" href="([^"]+)"', html)
    second = pages.get(onward.replace("&amp;", "&"))
    seen += numbers(second)
    assert seen[:55] == list(range(55))
    [before] = re.findall(r'rel="prev" href="([^"]+)"', second)
    assert numbers(pages.get(before.replace("&amp;", "&"))) == list(range(50))
    assert pages.ask("/studies/s/trials?after=bad").status_code == 400


def test_filters_stand_in_the_address_and_can_be_taken_out(api: Api, pages: Pages) -> None:
    train(api, [0.2, 0.9, "failed"])
    assert numbers(pages.get("/studies/s/trials?state=failed")) == [2]
    assert numbers(pages.get("/studies/s/trials?where=value:gt:0.5")) == [1]
    added = pages.ask("/studies/s/trials?state=&rung=&where=number:le:1&field=value&op=lt&value=0.5")
    where = added.headers["location"]
    assert (added.status_code, where) == (303, "/studies/s/trials?where=number%3Ale%3A1&where=value%3Alt%3A0.5")
    html = pages.get(where)
    assert numbers(html) == [0]
    assert 'aria-label="Take out: value &lt; 0.5"' in html
    assert "No trial matches" in pages.get("/studies/s/trials?where=value:gt:2")
    assert "This condition is left out" in pages.get("/studies/s/trials?where=nonsense:le:2")


def test_columns_are_chosen_by_the_address(api: Api, pages: Pages) -> None:
    train(api, [0.2])
    html = pages.get("/studies/s/trials?col=metrics.params_m&col=updated_at&col=nonsense")
    heads = re.findall(r"<th scope=\"col\"[^>]*>(.*?)</th>", html)
    assert [re.sub("<[^>]+>", "", head).strip() for head in heads][-3:] == ["params_m", "Updated", "Note"]


def test_what_the_filters_leave_is_taken_away_as_a_file(api: Api, pages: Pages) -> None:
    train(api, [0.2, 0.9, "failed"])
    [csv, lines] = re.findall(
        r'href="([^"]+)" download>(?:CSV|JSONL)', pages.get("/studies/s/trials?where=number:le:1")
    )
    rows = pages.ask(csv.replace("&amp;", "&")).text.splitlines()
    assert len(rows) == 3
    assert "metrics.params_m" in rows[0]
    assert [line[:11] for line in pages.ask(lines.replace("&amp;", "&")).text.splitlines()] == [
        '{"number":0',
        '{"number":1',
    ]
    assert pages.ask("/studies/s/trials.csv?where=nonsense").status_code == 422


def test_several_trials_are_stopped_and_copied_at_once(api: Api, pages: Pages, reader: Pages) -> None:
    train(api, [0.2, 0.9])
    assert reader.send("/studies/s/trials/chosen/stop", t="s/0").status_code == 403
    done = pages.send("/studies/s/trials/chosen/stop?next=/studies/s/trials?state=pruned", t=["s/0", "s/1"])
    assert (done.status_code, done.headers["location"]) == (303, "/studies/s/trials?state=pruned")
    assert [api.get(f"/studies/s/trials/{n}").json()["state"] for n in (0, 1)] == ["pruned", "pruned"]
    pages.send("/studies/s/trials/chosen/enqueue", t=["s/0", "s/1"])
    copies = "SELECT count(*) FROM enqueued e JOIN study s ON s.id = e.study_id WHERE s.project_id = %(p)s"
    assert api.hand.scalar(copies, p=api.project) == 2
    refused = pages.send("/studies/s/trials/chosen/retry", t="s/0")
    assert "trial 0 is pruned" in bytes.fromhex(refused.cookies["ladder_flash"].strip('"')).decode()
    assert pages.send("/studies/s/trials/chosen/stop", t="s/x").status_code == 422


def test_a_trial_shows_its_params_decisions_and_attempts(api: Api, pages: Pages, other: Api) -> None:
    train(api, [0.2, 0.9, 0.5])
    text = pages.text("/studies/s/trials/0")
    assert "best #2 0.5" in text
    assert "1 rung 0 0.2 2nd of 3 waits here" in text
    assert "It breaks an outcome constraint: params_m &lt;= 5 with 8.5" in pages.get("/studies/s/trials/1")
    assert "paused" in text
    html = pages.get("/studies/s/trials/0?metric=params_m")
    assert 'aria-label="params_m by epoch, newest 1"' in html
    assert HOSTILE not in html
    assert pages.ask("/studies/s/trials/999").status_code == 404
    assert Pages(other.client, other.tokens["admin"]).ask("/studies/s/trials/0").status_code == 404


def test_a_failed_trial_shows_its_error_and_can_be_tried_again(api: Api, pages: Pages) -> None:
    train(api, ["failed"])
    html = pages.get("/studies/s/trials/0")
    assert "File train.py, line 7" in html
    assert "The trainer cannot use this configuration" in html
    assert HOSTILE not in html
    assert pages.send("/studies/s/trials/0/retry").status_code == 303
    assert api.get("/studies/s/trials/0").json()["state"] == "queued"


def test_logs_show_an_attempt_and_what_a_search_finds(api: Api, pages: Pages) -> None:
    train(api, [])
    [trial] = api.ask()
    assert "This attempt has printed nothing yet" in pages.get("/studies/s/trials/0")
    at = "2026-01-02T03:04:05Z"
    lines = [{"position": n, "at": at, "stream": "out", "text": f"line {n} {HOSTILE}"} for n in (1, 2)]
    body = {"lease": trial["lease"]["token"], "lines": lines}
    assert api.post("/studies/s/trials/0/logs", body, scope="worker").status_code == 200
    html = pages.get("/studies/s/trials/0?attempt=1")
    assert "<time>03:04:05</time> line 2 &lt;img" in html
    assert "data-live" in html
    found = pages.get("/studies/s/trials/0?find=LINE+2")
    assert "line 2" in found
    assert "line 1" not in found


def test_trials_are_compared_by_one_address(api: Api, pages: Pages) -> None:
    train(api, [0.2, 0.9, 0.5])
    assert "Nothing chosen yet" in pages.get("/compare")
    tidied = pages.ask("/compare?t=s/0&t=s/1&csrf=x")
    assert (tidied.status_code, tidied.headers["location"]) == (303, "/compare?t=s%2F0%2Cs%2F1")
    html = pages.get(tidied.headers["location"])
    assert "s #0" in html
    assert 'data-plot="/api/v1/plots/compare?t=s%2F0%2Cs%2F1"' in html
    assert "params_m" in html
    assert 'data-plot="/api/v1/plots/compare?s=s&amp;x=wall"' in pages.get("/compare?s=s&x=wall")
    assert "there is no study" in pages.get("/compare?s=nowhere")
    assert "1 to 20 can be compared" in pages.get("/compare?s=" + ",".join(f"s{n}" for n in range(21)))
