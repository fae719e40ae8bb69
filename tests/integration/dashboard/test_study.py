"""P3: the pages of one study, without JavaScript."""

import json
import re
from typing import Any

import pytest
import yaml

from benchmarks.filled import fill_database
from benchmarks.filled import spec as crowd_spec
from hpo.settings import Settings
from tests.integration.api.caller import Api, Json, spec
from tests.integration.dashboard.conftest import Pages

HOSTILE = "<img src=x onerror=alert(1)>"
ACCURACY = [{"metric": "val_acc", "direction": "maximize"}]
ASHA = {"type": "asha", "min_resource": 1, "max_resource": 9, "reduction_factor": 3}
TABS = ["", "/rungs", "/params", "/pareto", "/timeline", "/config", "/events"]


def train(api: Api, name: str, values: list[float | str], **changes: Any) -> Json:
    """A study of which each trial reports one value at its first rung and obeys; "failed" fails instead."""
    study = api.create(name, **{"objectives": ACCURACY, "scheduler": ASHA, "budget": {"max_trials": 20}, **changes})
    for value in values:
        [trial] = api.ask(name)
        if value == "failed":
            told = api.tell(trial, state="failed", error={"type": "user_error", "message": HOSTILE, "retryable": False})
            assert told.status_code == 200, told.text
            continue
        step, target = trial["last_step"], trial["target_step"]
        answer = api.report(trial, target, metrics={"val_acc": value + 0.01 * step, "latency": 1 + step})
        assert answer.status_code == 200, answer.text
    return study


@pytest.mark.parametrize("tab", TABS)
def test_a_study_without_trials_says_what_to_do_next(api: Api, pages: Pages, tab: str) -> None:
    api.create("fresh", advance=False, start=False, objectives=ACCURACY, scheduler=ASHA)
    html = pages.get(f"/studies/fresh{tab}")
    assert 'action="/studies/fresh/start"' in html
    assert 'id="live-ended"' not in html
    if tab == "":
        assert "ladder study start fresh" in html


def test_the_head_counts_and_names_the_best(api: Api, pages: Pages) -> None:
    train(api, "s", [0.5, 0.7, "failed"], description=HOSTILE, labels={"team": "vision"})
    text = pages.text("/studies/s")
    assert "3/20 trials" in text
    assert "best 0.7 val_acc ↑ ( #1 )" in text
    assert "1 failed" in text
    assert "team:vision" in text
    assert HOSTILE not in pages.get("/studies/s")
    assert "&lt;img" in pages.get("/studies/s")


def test_why_it_does_not_move_is_told_whether_or_not_workers_are_there(api: Api, pages: Pages) -> None:
    train(api, "s", ["failed", "failed", "failed"])
    said = "the last 3 attempts all ended in user_error, the newest of trial 2"
    for path in ("/studies/s", "/"):
        assert said in pages.text(path)
    api.post("/studies/s/pause")
    assert "it is paused with" in pages.text("/studies/s")
    api.call("PUT", "/workers/w", {"queue": "cpu", "protocol_version": 3}, scope="worker")
    api.create("t", trainer={"name": "synthetic"})
    assert "live worker" not in pages.text("/studies/t")


def test_the_overview_tells_the_last_events_in_words(api: Api, pages: Pages) -> None:
    train(api, "s", [0.5])
    text = pages.text("/studies/s")
    assert "#0 0.5 after epoch 1, at rung 0: waits" in text
    assert "#0 started on w" in text


def test_the_rungs_show_each_trials_fate_and_the_cut_off(api: Api, pages: Pages) -> None:
    """Of three the best goes on, a failed one counts as the worst and stands below the axis."""
    api.advance(train(api, "s", [0.5, 0.7, "failed"]))
    html = pages.get("/studies/s/rungs")
    dots = set(re.findall(r'tabindex="-1"><title>([^<]*)', html))
    assert dots == {"#0 0.5, waits for promotion", "#1 0.7, went on", "#2 ended early, failed"}
    assert re.search(r'class="cut" d="M[\d.]+ [\d.]+h[\d.]+"', html)
    assert 'data-label="Cut-off" class="num">0.7<' in html
    assert "among the best 1/3" in html


def test_who_trains_stands_on_its_way_to_the_next_rung(api: Api, pages: Pages) -> None:
    train(api, "s", [0.5, 0.7, 0.6])
    [trial] = api.ask("s")
    api.report(trial, 2, metrics={"val_acc": 0.75})
    assert trial["number"] == 1
    assert "#1 0.75, runs towards rung 1, epoch 2 of 3" in pages.get("/studies/s/rungs")


def test_brackets_are_chosen_by_the_address(api: Api, pages: Pages) -> None:
    train(api, "s", [0.5, 0.6, 0.7, 0.4, 0.3], scheduler={**ASHA, "type": "hyperband"})
    assert "Bracket 0, from 1 ep" in pages.text("/studies/s/rungs")
    html = pages.get("/studies/s/rungs?bracket=1&scale=rung")
    assert "Bracket 1, from 3 ep" in html
    assert "scale of its own" in html
    assert "There is no bracket 77" in pages.text("/studies/s/rungs?bracket=77")
    assert pages.ask("/studies/s/rungs?bracket=x").status_code == 422


def test_a_stopping_rule_has_its_looks_drawn_with_its_cut(api: Api, pages: Pages) -> None:
    rule = {"type": "median", "max_resource": 3, "min_trials": 2}
    train(api, "s", [0.5, 0.7, 0.1], scheduler=rule)
    html = pages.get("/studies/s/rungs")
    assert "Rule: median" in html
    assert "look 0</text>" in html
    assert "#2 0.1, stopped" in html
    assert 'data-label="Cut-off" class="num">0.5<' in html


def test_a_large_study_is_drawn_with_its_best_and_says_what_it_leaves_out(
    api: Api, pages: Pages, settings: Settings
) -> None:
    answer = api.post("/studies", crowd_spec("crowd", 5_000))
    assert settings.database_url is not None
    dsn = settings.database_url.get_secret_value().replace("+psycopg2", "")
    fill_database(dsn, answer.json()["id"], 5_000)
    for tab in TABS:
        assert len(pages.get(f"/studies/crowd{tab}").encode()) < 100_000, tab
    html = pages.get("/studies/crowd/rungs")
    best = api.get("/studies/crowd/best?top=5").json()["items"]
    assert all(f"#{trial['number']} " in html for trial in best)
    assert re.search(r"\d+ of 7,\d+ results drawn", html)
    assert html.count("<use") < 600


def test_verbs_are_those_of_the_state_and_of_the_key(api: Api, pages: Pages, reader: Pages) -> None:
    api.create("s", advance=False)
    html = pages.get("/studies/s")
    assert all(f'action="/studies/s/{verb}"' in html for verb in ("pause", "stop", "extend", "cancel", "delete"))
    assert 'action="/studies/s/resume"' not in html
    assert 'action="/studies/s/' not in reader.get("/studies/s")
    assert reader.send("/studies/s/extend", max_trials="9").status_code == 403


def test_a_study_is_extended_by_the_form(api: Api, pages: Pages) -> None:
    api.create("s", advance=False)
    assert pages.send("/studies/s/extend", max_trials="40", max_epochs="", max_wall_s="").status_code == 303
    assert api.get("/studies/s").json()["budget"]["max_trials"] == 40
    refused = pages.send("/studies/s/extend", max_trials="many")
    assert refused.status_code == 422
    assert "/max_trials" in refused.text
    assert "many" in refused.text


def test_an_ended_study_is_archived_and_brought_back(api: Api, pages: Pages) -> None:
    api.create("s", advance=False)
    assert pages.send("/studies/s/archive").status_code == 409
    pages.send("/studies/s/cancel", confirm="s")
    assert pages.send("/studies/s/archive").status_code == 303
    assert "archived" in pages.text("/studies/s")
    assert pages.send("/studies/s/unarchive").status_code == 303
    assert 'action="/studies/s/archive"' in pages.get("/studies/s")


def test_a_study_is_deleted_once_its_name_is_typed(api: Api, pages: Pages) -> None:
    api.create("s", advance=False)
    assert pages.send("/studies/s/delete", confirm="t").status_code == 422
    assert pages.send("/studies/s/delete", confirm="s").headers["location"] == "/"
    assert pages.ask("/studies/s").status_code == 404


def test_the_definition_can_be_sent_again(api: Api, pages: Pages) -> None:
    first = api.create("s", advance=False, objectives=ACCURACY, scheduler=ASHA)
    given = yaml.safe_load(pages.get("/studies/s/config.yaml"))
    assert given["sampler"]["seed"] == first["sampler"]["seed"]
    again = api.post("/studies", given | {"name": "t"})
    assert again.status_code == 201, again.text
    assert again.json()["scheduler"] == first["scheduler"]
    assert "max_trials" in pages.text("/studies/s/config")


def test_the_log_pages_backwards_without_a_gap(api: Api, pages: Pages) -> None:
    study = train(api, "s", [0.1 * number for number in range(16)])
    seen: list[int] = []
    path = "/studies/s/events"
    while path:
        html = pages.get(path)
        seen += map(int, re.findall(r'<tr id="e-(\d+)"', html))
        older = re.search(r'rel="next" href="([^"]+)"', html)
        path = older[1].replace("&amp;", "&") if older else ""
    last = api.hand.scalar("SELECT last_seq FROM study WHERE id = %(id)s", id=study["id"])
    assert seen == list(range(last, 0, -1))
    assert last > 50


def test_the_log_is_of_one_trial_or_one_kind(api: Api, pages: Pages) -> None:
    train(api, "s", [0.5, 0.6])
    only = pages.get("/studies/s/events?trial=1&type=trial-paused")
    assert "0.6 after epoch 1, at rung 0: waits" in only
    assert len(re.findall(r'<tr id="e-', only)) == 1
    assert pages.ask("/studies/s/events?trial=-1").status_code == 422
    assert pages.ask("/studies/s/events?type=nonsense").status_code == 422


def test_one_objective_has_no_front_and_several_list_theirs(api: Api, pages: Pages) -> None:
    train(api, "one", [0.5])
    assert "One objective has no front" in pages.text("/studies/one/pareto")
    both = [*ACCURACY, {"metric": "latency", "direction": "minimize"}]
    train(api, "two", [0.5, 0.7], objectives=both)
    text = pages.text("/studies/two/pareto")
    assert "1 trial that no other beats" in text
    assert "#1 0.7 1" in text
    assert 'value="two/1"' in pages.get("/studies/two/pareto")


def test_the_confirmation_tells_what_was_promised_and_what_is_left(api: Api, pages: Pages) -> None:
    found = {
        "state": "finished", "reason": None, "study": "s.confirm", "study_id": None, "seeds": 3, "folds": None,
        "train_on": "train",
        "candidates": [{"params": {"x": 0.5}, "trial": 1, "search_value": 0.95, "values": [0.9, 0.91, 0.92], "n": 3,
                        "mean": 0.91, "ci95": 0.0248, "gap": 0.04, "failed": 0}],
        "recommendation": {"params": {"x": 0.5}, "trial": 1, "search_value": 0.95, "n": 3, "mean": 0.91,
                           "ci95": 0.0248, "gap": 0.04, "final_trial": 3, "checkpoint": None},
        "test": {"acc": 0.9, "acc_low": 0.88, "acc_high": 0.92, "loss": 0.3, "images": 1000, "metrics": {}},
    }  # fmt: skip
    study = train(api, "s", [0.5])
    statement = "UPDATE study SET confirmation = %(found)s::jsonb WHERE id = %(id)s"
    api.hand.execute(statement, found=json.dumps(found), id=study["id"])
    text = pages.text("/studies/s")
    assert "the search promised val_acc 0.95 , trained anew it has 0.91 ± 0.025 (n = 3), a gap of 0.04" in text
    assert "accuracy 0.9 (0.88 to 0.92), 1,000 images" in text


def test_another_projects_study_is_not_there(api: Api, other: Api, pages: Pages) -> None:
    other.create("theirs", advance=False)
    for tab in TABS:
        assert pages.ask(f"/studies/theirs{tab}").status_code == 404
    assert pages.send("/studies/theirs/delete", confirm="theirs").status_code == 404


def test_a_parameter_that_the_space_does_not_have_falls_back(api: Api, pages: Pages) -> None:
    space = [{"name": name, "type": "float", "low": 0, "high": 1} for name in ("lr", "decay")]
    api.post("/studies", spec("s", search_space=space))
    html = pages.get("/studies/s/params?x=gone&y=decay")
    assert "plots/contour?params=lr%2Cdecay" in html
