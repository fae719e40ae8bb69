"""A study's winners are trained anew by a study of its own, and the best of them is tested once."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from hpo.domain.trial import training_seed
from tests.audit import audit
from tests.integration.api.caller import Api, Json, problem, refused, spec

SEARCH: dict[str, Any] = {
    "trainer": {"name": "synthetic"},
    "scheduler": {"type": "fifo", "max_resource": 2},
    "objectives": [{"metric": "acc", "direction": "maximize", "goal": 0.99}],
    "budget": {"max_trials": 4},
    "confirm": {"top": 2, "seeds": 2},
}
TEST = {"test_acc": 0.75, "test_loss": 0.5, "test_images": 400}


def claim(api: Api) -> Json | None:
    trial: Json | None = api.claim(claim_id=str(uuid4())).json()["trial"]
    return trial


def report(api: Api, trial: Json, step: int, **metrics: float) -> Json:
    answer = api.report(trial, step, metrics=metrics)
    assert answer.status_code == 200, answer.text
    decided: Json = answer.json()
    return decided


def train(api: Api, trial: Json, acc: float, **metrics: float) -> None:
    """Report the trial's steps, the last with ``metrics`` besides."""
    for step in range(1, trial["max_resource"]):
        report(api, trial, step, acc=acc / 2)
    assert report(api, trial, trial["max_resource"], acc=acc, **metrics)["decision"] == "complete"


def drain(api: Api, *studies: Json, score: Callable[[Json], float | None]) -> list[Json]:
    """Train all trials that the studies queue, as their workers would; without a score a trial fails."""
    done: list[Json] = []
    while True:
        for study in studies:
            api.advance(study)
        trial = claim(api)
        if trial is None:
            return done
        assert trial["study"] in [study["name"] for study in studies]
        if (acc := score(trial)) is None:
            error = {"type": "user_error", "message": "no"}
            assert api.tell(trial, state="failed", error=error).status_code == 200
        else:
            train(api, trial, acc, **(TEST if trial["final"] else {}))
        done.append(trial)


def searched(api: Api, name: str = "s", **changes: Any) -> tuple[Json, Json]:
    """A study whose four trials got 0.6 to 0.9 in the order of their numbers, and the study that confirms it."""
    study = api.create(name, **{**SEARCH, **changes})
    trials = drain(api, study, score=lambda trial: 0.6 + trial["number"] / 10)
    assert len(trials) == 4
    study = api.get(f"/studies/{name}").json()
    assert study["state"] == "finished"
    return study, api.get(f"/studies/{study['confirmation']['study']}").json()


def clean(api: Api, *studies: Json) -> None:
    url = api.hand.db.engine.url.render_as_string(hide_password=False)
    for study in studies:
        assert audit(url, study["id"]) == []


def scores(api: Api, study: Json) -> list[Json]:
    query = "SELECT json_agg(e.data ORDER BY seq) FROM event e WHERE study_id = %(s)s::uuid AND type = 'test-scored'"
    return api.hand.scalar(query, s=study["id"]) or []


def test_the_best_are_trained_on_fresh_seeds_and_the_best_of_them_is_tested_once(api: Api) -> None:
    study, child = searched(api)
    assert (child["name"], child["confirms"], child["state"]) == ("s.confirm", study["id"], "running")
    best = [trial["params"] for trial in api.get("/studies/s/best").json()["items"][:2]]
    assert (
        "is at it: 0 of 5 trials" in problem(api.get("/studies/s/best?confirmed=true"), 409, "not_confirmed")["detail"]
    )

    # The winner of the search does worse anew than the second.
    trained = drain(api, child, score=lambda t: (0.85 if t["params"] == best[0] else 0.88) + t["number"] % 2 / 100)
    assert [trial["params"] for trial in trained] == [best[0], best[0], best[1], best[1], best[1]]
    assert [trial["final"] for trial in trained] == [None] * 4 + ["train_and_validation"]
    seeds = [trial["seed"] for trial in trained]
    before = {training_seed(study["sampler"]["seed"], number) for number in range(4)}
    assert len({*seeds, *before}) == 9

    found = api.get("/studies/s/best?confirmed=true").json()
    assert found == api.get("/studies/s").json()["confirmation"]
    first, second = found["candidates"]
    assert (first["trial"], first["params"], first["search_value"]) == (3, best[0], pytest.approx(0.9))
    assert first["values"] == pytest.approx([0.85, 0.86])
    assert (first["mean"], first["gap"]) == (pytest.approx(0.855), pytest.approx(0.045))
    assert first["ci95"] == pytest.approx(12.706 * 0.005, rel=1e-4)  # t of one degree of freedom
    assert second["gap"] == pytest.approx(0.8 - 0.885)
    assert (found["recommendation"]["params"], found["recommendation"]["final_trial"]) == (best[1], 4)
    assert found["test"]["acc"] == 0.75
    assert found["test"]["acc_low"] < 0.75 < found["test"]["acc_high"]
    assert (found["test"]["loss"], found["test"]["images"]) == (0.5, 400)
    assert scores(api, child) == [{"step": 2, "metrics": TEST}]
    ended = api.get("/studies/s.confirm").json()
    assert (ended["state"], ended["state_reason"]) == ("finished", "max_trials")
    # The final trial has seen what it is validated on: it is nobody's best.
    assert api.get("/studies/s.confirm/best?top=1").json()["items"][0]["number"] == 3
    clean(api, study, child)


def test_a_report_that_comes_again_scores_no_second_time(api: Api) -> None:
    _, child = searched(api)
    for number in range(4):
        api.advance(child)
        trial = claim(api)
        assert trial is not None
        train(api, trial, 0.5 + number / 100)
    api.advance(child)
    final = claim(api)
    assert final is not None
    # Its worker is told to stop before it has reported, and another trains it once more.
    lease = {"lease": final["lease"]["token"]}
    assert api.post(f"/studies/{child['name']}/trials/4/release", lease, scope="worker").status_code == 204
    again = claim(api)
    assert again is not None
    assert (again["number"], again["final"], again["attempt"]) == (4, "train_and_validation", 2)
    train(api, again, 0.9, **TEST)
    assert report(api, again, 2, acc=0.9, test_acc=0.1)["decision"] == "complete"
    assert api.report(final, 2, metrics={"acc": 0.9, **TEST}).status_code == 409
    assert scores(api, child) == [{"step": 2, "metrics": TEST}]
    api.advance(child)
    clean(api, child)


def test_a_winner_half_of_whose_replicates_fail_is_not_recommended(api: Api) -> None:
    study, child = searched(api, confirm={"top": 2, "seeds": 3})
    best = study["best"]["params"]
    drain(
        api,
        child,
        score=lambda t: 0.99 if t["params"] == best and t["number"] == 0 else None if t["number"] < 3 else 0.7,
    )
    found = api.get("/studies/s/best?confirmed=true").json()
    assert [(one["n"], one["failed"]) for one in found["candidates"]] == [(1, 2), (3, 0)]
    assert found["recommendation"]["params"] != best
    clean(api, child)


def test_a_confirmation_in_which_nothing_works_fails_and_says_why(api: Api) -> None:
    study, child = searched(api)
    drain(api, child, score=lambda _: None)
    assert api.get("/studies/s.confirm").json()["state"] == "failed"
    found = api.get("/studies/s").json()["confirmation"]
    assert (found["state"], found["test"], found["recommendation"]) == ("failed", None, None)
    detail = problem(api.get("/studies/s/best?confirmed=true"), 409, "not_confirmed")["detail"]
    assert "of no winner were half of the replicates trained to their end" in detail
    clean(api, study, child)


def test_a_final_trial_that_fails_leaves_the_confirmation_without_a_score(api: Api) -> None:
    _, child = searched(api)
    drain(api, child, score=lambda trial: None if trial["final"] else 0.8)
    found = api.get("/studies/s").json()["confirmation"]
    assert found["state"] == "failed"
    assert "trial 4 of s.confirm, the final one, ended failed" in found["reason"]
    assert [one["n"] for one in found["candidates"]] == [2, 2]
    assert scores(api, child) == []
    clean(api, child)


@pytest.mark.parametrize(
    ("verb", "why"), [("cancel", "was cancelled"), ("stop", "ended (user) before its final trial")]
)
def test_a_confirmation_that_is_broken_off_is_told_to_its_study(api: Api, verb: str, why: str) -> None:
    study, child = searched(api)
    assert api.post(f"/studies/s.confirm/{verb}").status_code == 200
    api.advance(child)
    assert why in api.get("/studies/s").json()["confirmation"]["reason"]
    assert api.get("/studies/s.confirm").json()["state"] == ("cancelled" if verb == "cancel" else "failed")
    assert api.post(f"/studies/s.confirm/{verb}").status_code == 200  # once more changes nothing
    clean(api, study, child)


def test_a_confirmation_whose_final_trial_ends_without_a_score_has_failed(api: Api) -> None:
    study, child = searched(api, confirm={"top": 1, "seeds": 1})
    for final in (None, "train_and_validation"):
        api.advance(child)
        trial = claim(api)
        assert trial is not None
        assert trial["final"] == final
        train(api, trial, 0.5)
    api.advance(child)
    assert api.get("/studies/s.confirm").json()["state"] == "failed"
    found = api.get("/studies/s").json()["confirmation"]
    assert (found["state"], found["test"]) == ("failed", None)
    assert "the final one, ended complete without a score" in found["reason"]
    clean(api, study, child)


@pytest.mark.parametrize(
    "score", [{"test_acc": 1.5, "test_images": 9}, {"test_acc": 0.5, "test_images": 0.5}, {"test_acc": 0.5}]
)
def test_a_score_out_of_range_is_stored_without_an_interval(api: Api, score: dict[str, float]) -> None:
    study, child = searched(api, confirm={"top": 1, "seeds": 1})
    for last in ({}, score):
        api.advance(child)
        trial = claim(api)
        assert trial is not None
        train(api, trial, 0.5, **last)
    api.advance(child)
    assert api.get("/studies/s.confirm").json()["state"] == "finished"
    test = api.get("/studies/s/best?confirmed=true").json()["test"]
    assert (test["acc"], test["acc_low"], test["acc_high"]) == (score["test_acc"], None, None)
    assert test["metrics"] == score
    clean(api, study, child)


def test_an_edit_that_leaves_too_little_to_confirm_is_refused(api: Api) -> None:
    api.create("s", **SEARCH)
    said = refused(api.call("PATCH", "/studies/s", {"budget": {"max_trials": 1}}), "/confirm/top", "above_max_trials")
    assert "at most the study's 1 trials, got 2" in said
    assert api.call("PATCH", "/studies/s", {"budget": {"max_trials": 2}}).status_code == 200


def test_an_edit_of_the_space_may_not_search_what_confirm_sets(api: Api) -> None:
    api.create("s", **{**SEARCH, "confirm": {"top": 2, "seeds": 2, "config": {"y": 0.5}}})
    space = api.get("/studies/s").json()["search_space"]
    space.append({"type": "float", "name": "y", "low": 0, "high": 1, "default": 0.5})
    answer = api.call("PATCH", "/studies/s", {"search_space": space})
    assert "'y' is searched" in refused(answer, "/confirm/config/y", "fixed_and_searched")


def test_folds_are_the_values_of_a_winner(api: Api) -> None:
    images = {"name": "image-cnn", "config": {"dataset": "digits"}}
    space = [{"type": "float", "name": "lr", "low": 1e-4, "high": 1e-2}]
    study = api.create("s", **{**SEARCH, "trainer": images, "search_space": space, "confirm": {"top": 1, "folds": 3},
                               "objectives": [{"metric": "val_acc", "direction": "maximize"}]})  # fmt: skip
    for number in range(4):
        api.advance(study)
        trial = claim(api)
        assert trial is not None
        for step in (1, 2):
            report(api, trial, step, val_acc=0.5 + number / 10)
    api.advance(study)
    child = api.get("/studies/s.confirm").json()
    api.advance(child)
    folded = claim(api)
    assert folded is not None
    assert (folded["max_resource"], folded["config"]["folds"], folded["config"]["fold_epochs"]) == (3, 3, 2)
    for step, own in enumerate((0.6, 0.8, 0.7), start=1):
        report(api, folded, step, val_acc=0.7, fold_val_acc=own)
    api.advance(child)
    final = claim(api)
    assert final is not None
    for step in (1, 2, 3):
        report(api, final, step, val_acc=0.9, **(TEST if step == 3 else {}))
    api.advance(child)
    [candidate] = api.get("/studies/s/best?confirmed=true").json()["candidates"]
    assert (candidate["values"], candidate["n"], candidate["mean"]) == ([0.6, 0.8, 0.7], 3, pytest.approx(0.7))
    clean(api, child)


def test_what_is_not_confirmed_says_why(api: Api) -> None:
    api.create("plain")
    assert "did not ask" in problem(api.get("/studies/plain/best?confirmed=true"), 409, "not_confirmed")["detail"]
    api.create("s", **SEARCH)
    assert "is running" in problem(api.get("/studies/s/best?confirmed=true"), 409, "not_confirmed")["detail"]
    assert api.post("/studies/s/cancel").status_code == 200
    assert "was cancelled" in problem(api.get("/studies/s/best?confirmed=true"), 409, "not_confirmed")["detail"]


def test_a_search_without_a_value_has_no_winners_to_confirm(api: Api) -> None:
    study = api.create("s", **SEARCH)
    drain(api, study, score=lambda _: None)
    found = api.get("/studies/s").json()["confirmation"]
    assert (found["state"], found["reason"]) == ("failed", "no trial of the search has a value")
    clean(api, study)


def test_the_study_that_confirms_takes_no_other_trials_and_is_listed_on_demand(api: Api) -> None:
    searched(api)
    problem(api.post("/studies/s.confirm/trials", {"params": {"x": 0.5}}), 409, "invalid_state")
    assert "decided" in refused(api.call("PATCH", "/studies/s.confirm", {"budget": {"max_trials": 9}}),
                                "/budget/max_trials", "confirming")  # fmt: skip
    assert api.call("PATCH", "/studies/s.confirm", {"budget": {"max_concurrent": 1}}).status_code == 200
    assert [one["name"] for one in api.get("/studies").json()["items"]] == ["s"]
    listed = api.get("/studies?confirmations=true").json()["items"]
    assert {one["name"] for one in listed} == {"s", "s.confirm"}


def test_a_dry_run_tells_what_the_confirmation_takes_besides(api: Api) -> None:
    planned = api.post("/studies?dry_run=true", spec("s", **SEARCH)).json()
    assert planned["confirm_epochs"] == (2 * 2 + 1) * 2
    assert api.post("/studies?dry_run=true", spec("s")).json()["confirm_epochs"] is None


def test_a_taken_name_is_passed_over(api: Api) -> None:
    api.create("s.confirm", advance=False)
    study = api.create("s", **SEARCH)
    drain(api, study, score=lambda trial: 0.6)
    assert api.get("/studies/s").json()["confirmation"]["study"] == "s.confirm-2"


def test_arms_of_a_contest_may_differ_in_their_data_and_are_tested_before_it_ends(api: Api) -> None:
    methods = [
        {"name": "plain"},
        {"name": "other", "config": {"y": 0.5, "noise": 0.0}, "confirm": {"top": 1, "seeds": 1}},
    ]
    common = {name: value for name, value in SEARCH.items() if name != "budget"} | {
        "search_space": [{"type": "float", "name": "x", "low": 0, "high": 1}],
        "sampler": {"type": "random"},
    }
    answer = api.post("/contests", {"name": "c", "study": common, "methods": methods, "budget": {"max_epochs": 4}})
    assert answer.status_code == 201, answer.text
    arms = answer.json()["studies"]
    trials = drain(api, *arms, score=lambda trial: 0.6 + trial["number"] / 100 + (trial["config"].get("y") or 0) / 10)
    assert {(trial["study"], trial["config"].get("y")) for trial in trials} == {
        ("c.plain.s0", None),
        ("c.other.s0", 0.5),
    }
    half = api.get("/contests/c").json()
    assert (half["state"], half["complete"]) == ("running", "0/2")
    assert {study["state"] for study in half["studies"]} == {"finished"}
    assert {study["confirmation"] for study in half["studies"]} == {"running"}
    assert {(row["running"], row["test_mean"]) for row in half["result"]["items"]} == {(1, None)}

    confirming = [api.get(f"/studies/{one['name']}.confirm").json() for one in arms]
    drain(api, *confirming, score=lambda trial: 0.5)
    done = api.get("/contests/c").json()
    assert (done["state"], done["complete"]) == ("finished", "2/2")
    assert [study["test"] for study in done["studies"]] == [0.75, 0.75]
    assert len(api.get("/contests/c").json()["studies"]) == 2  # those that confirm are none of its own
    rows = {row["method"]: row for row in api.get("/contests/c/result?params=true").json()["items"]}
    for one in arms:
        found = api.get(f"/studies/{one['name']}").json()["confirmation"]
        assert rows[one["method"]]["params"] == found["recommendation"]["params"]
        assert rows[one["method"]]["test_mean"] == 0.75
    table = api.get("/contests/c/result?params=true&format=md").text.splitlines()
    assert table[2] == "| method | x | test accuracy |"
    assert table[4].endswith("| 0.75 |")
    assert {row["params"] for row in api.get("/contests/c/result").json()["items"]} == {None}


def test_a_contest_has_failed_where_a_confirmation_has(api: Api) -> None:
    common = {name: value for name, value in SEARCH.items() if name != "budget"} | {
        "search_space": [{"type": "float", "name": "x", "low": 0, "high": 1}],
    }
    body = {"name": "c", "study": common, "methods": [{"name": "a"}], "budget": {"max_epochs": 4}}
    [arm] = api.post("/contests", body).json()["studies"]
    drain(api, arm, score=lambda trial: 0.6)
    drain(api, api.get(f"/studies/{arm['name']}.confirm").json(), score=lambda trial: None)
    found = api.get("/contests/c").json()
    assert (found["state"], found["result"]["items"][0]["failed"]) == ("failed", 1)
    # Without a recommendation the params are those of the best trial.
    assert api.get("/contests/c/result?params=true").json()["items"][0]["params"].keys() == {"x"}


@pytest.mark.parametrize("page", [1, 2, 500])
def test_winners_keep_the_constraints_and_are_each_confirmed_once(
    api: Api, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr("hpo.storage.studies.WINNERS_PAGE", page)
    tried = [(0.1, 0.9, 1.0), (0.1, 0.95, 1.0), (0.2, 0.99, 9.0), (0.3, 0.7, 1.0)]  # x, acc, cost
    study = api.create(
        "s",
        **{
            **SEARCH,
            "sampler": {"type": "manual"},
            "enqueue": [{"x": x} for x, _, _ in tried],
            "repeats": 2,
            "constraints": [{"metric": "cost", "op": "<=", "value": 5}],
            "confirm": {"top": 3, "seeds": 1},
        },
    )
    for _, acc, cost in tried:
        api.advance(study)
        trial = claim(api)
        assert trial is not None
        for step in (1, 2):
            report(api, trial, step, acc=acc, cost=cost)
    api.advance(study)
    candidates = api.get("/studies/s").json()["confirmation"]["candidates"]
    found = [(one["params"]["x"], one["trial"], one["search_value"]) for one in candidates]
    assert found == [(0.1, 1, pytest.approx(0.95)), (0.3, 3, pytest.approx(0.7))]


def test_whole_trials_alone_win_where_there_are_any(api: Api) -> None:
    asha = {"type": "asha", "min_resource": 1, "max_resource": 2, "reduction_factor": 4}
    study = api.create("s", **{**SEARCH, "scheduler": asha})
    while True:
        api.advance(study)
        trial = claim(api)
        if trial is None:
            break
        for step in range(trial["last_step"] + 1, trial["target_step"] + 1):
            answer = report(api, trial, step, acc=0.9 - trial["number"] / 10 if step == 1 else 0.2)
            while answer["decision"] == "continue" and answer["target_step"] > step:
                step += 1
                answer = report(api, trial, step, acc=0.2)
    ended = api.get("/studies/s").json()
    assert (ended["counts"]["complete"], ended["counts"]["pruned"]) == (1, 3)
    [winner] = ended["confirmation"]["candidates"]
    assert (winner["trial"], winner["search_value"]) == (0, pytest.approx(0.2))
    assert api.get("/studies/s/best").json()["items"][0]["number"] == 1
