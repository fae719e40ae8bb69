"""Contests over the API: what is stored for one, what is refused, and the table in its three formats."""

import csv
import io
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.api.caller import Api, Json, problem, refused, spec

METHODS: list[Json] = [
    {"name": "random", "sampler": {"type": "random"}},
    {"name": "halving", "scheduler": {"type": "asha", "max_resource": 4, "reduction_factor": 2}},
]


def contest(name: str = "c", *, study: Json | None = None, **changes: Any) -> Json:
    """Two methods with two seeds, 6 epochs a study."""
    common = spec(sampler={"type": "random"}, budget={"max_concurrent": 2}, **(study or {}))
    del common["name"]
    return {
        "name": name,
        "study": common,
        "methods": METHODS,
        "seeds": [3, 5],
        "budget": {"max_epochs": 6},
        **changes,
    }


def contests(api: Api) -> int:
    return int(api.hand.scalar("SELECT count(*) FROM contest WHERE project_id = %(p)s", p=api.project))


def play(api: Api, study: str, losses: list[float]) -> None:
    """Train the study's trials for all epochs it asks for, each with the next of ``losses``."""
    for loss in losses:
        (trial,) = api.ask(study)
        for step in range(trial["last_step"] + 1, trial["target_step"] + 1):
            assert api.report(trial, step, loss).status_code == 200


def test_each_method_with_each_seed_becomes_a_study_of_its_own(api: Api) -> None:
    answer = api.post("/contests", contest())
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/api/v1/contests/{made['id']}"
    assert (made["state"], made["complete"]) == ("running", "0/4")
    names = {"c.random.s3", "c.random.s5", "c.halving.s3", "c.halving.s5"}
    assert {study["name"] for study in made["studies"]} == names
    for one in made["studies"]:
        study = api.get(f"/studies/{one['id']}").json()
        assert study["state"] == "running"
        assert study["sampler"] == {"type": "random", "seed": one["seed"]}
        assert study["labels"] == {"contest": "c", "method": one["method"], "seed": str(one["seed"])}
        assert study["scheduler"]["type"] == ("asha" if one["method"] == "halving" else "fifo")
        assert (study["budget"]["max_epochs"], study["budget"]["max_trials"]) == (6, 6)
        assert study["budget"]["max_concurrent"] == 2
        assert study["trainer"]["name"] == "external"
    linked = api.hand.scalar("SELECT count(*) FROM study WHERE contest_id = %(c)s", c=made["id"])
    assert linked == 4
    by_id, by_name = (api.get(f"/contests/{ref}").json() for ref in (made["id"], "c"))
    assert by_id["studies"] == by_name["studies"] == made["studies"]
    assert by_id["spec"]["methods"] == METHODS


def test_what_a_method_gives_replaces_the_common_field_and_trials_are_as_in_the_base(api: Api) -> None:
    grid = [{"type": "float", "name": "x", "low": 0, "high": 1, "step": 0.5}]
    methods = [
        {"name": "grid", "sampler": {"type": "grid"}, "search_space": grid},
        {"name": "auto", "sampler": {"type": "auto"}, "stagnation": {"trials": 3}},
        {"name": "stop", "pruners": [{"type": "patience", "patience": 1}]},
    ]
    body = contest(methods=methods, seeds=1, study={"labels": {"team": "x"}})
    body["study"]["budget"] = {"max_trials": 50}
    assert api.post("/contests", body).status_code == 201
    read = {name: api.get(f"/studies/c.{name}.s0").json() for name in ("grid", "auto", "stop")}
    assert read["grid"]["search_space"][0]["step"] == 0.5
    assert read["auto"]["search_space"][0]["step"] is None
    assert read["auto"]["stagnation"]["trials"] == 3
    assert read["auto"]["sampler"]["picked"]["seed"] == 0
    assert [pruner["type"] for pruner in read["stop"]["pruners"]] == ["patience"]
    assert {study["budget"]["max_trials"] for study in read.values()} == {50}
    assert all(study["labels"]["team"] == "x" for study in read.values())


def test_a_manual_method_trains_what_is_enqueued_and_no_more(api: Api) -> None:
    methods = [{"name": "hand", "sampler": {"type": "manual"}, "enqueue": [{"x": 0.5}, {"x": 0.25}]}]
    assert api.post("/contests", contest(methods=methods, seeds=[1])).status_code == 201
    assert api.get("/studies/c.hand.s1").json()["budget"]["max_trials"] == 2


def test_a_budget_in_hours_reaches_every_study(api: Api) -> None:
    assert api.post("/contests", contest(budget={"max_gpu_hours": 1.5})).status_code == 201
    budget = api.get("/studies/c.random.s3").json()["budget"]
    assert (budget["max_gpu_hours"], budget["max_epochs"], budget["max_trials"]) == (1.5, None, 10_000)


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"methods": [{"name": "a", "smapler": {"type": "tpe"}}]}, "/methods/0/smapler", "extra_forbidden"),
        ({"methods": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}, "/methods/2/name", "duplicate_name"),
        ({"methods": [{"name": "a"}, {"name": "m" * 96}]}, "/methods/1/name", "name_too_long"),
        ({"methods": [{"name": "a b"}]}, "/methods/0/name", "string_pattern_mismatch"),
        ({"methods": []}, "/methods", "too_short"),
        ({"methods": [{"name": f"m{n}"} for n in range(65)]}, "/methods", "too_long"),
        ({"methods": [{"name": f"m{n}"} for n in range(11)], "seeds": 100}, "/seeds", "too_many_studies"),
        ({"seeds": 101}, "/seeds", "seed_count"),
        ({"seeds": [1, 2, 1]}, "/seeds/2", "duplicate_seed"),
        ({"seeds": [1, -1]}, "/seeds/1", "greater_than_equal"),
        ({"budget": {}}, "/budget", "one_budget"),
        ({"budget": {"max_epochs": 5, "max_gpu_hours": 1}}, "/budget", "one_budget"),
        ({"budget": {"max_epochs": 0}}, "/budget/max_epochs", "greater_than_equal"),
        ({"study": {"name": "s"}}, "/study/name", "named_by_contest"),
        ({"study": {"labels": {"seed": "1"}}}, "/study/labels/seed", "label_of_contest"),
        ({"study": {"frob": 1}}, "/study/frob", "extra_forbidden"),
        ({"name": "a/b"}, "/name", "string_pattern_mismatch"),
    ],
)
def test_what_is_wrong_with_the_contest_itself_is_named(api: Api, changes: Json, pointer: str, code: str) -> None:
    body = contest(**{key: value for key, value in changes.items() if key != "study"})
    body["study"] |= changes.get("study", {})
    refused(api.post("/contests", body), pointer, code)
    assert (contests(api), api.stored()) == (0, 0)


PBT = {"type": "pbt", "max_resource": 4, "interval": 2, "population_size": 4}
SYNTHETIC: Json = {
    "trainer": {"name": "synthetic"},
    "search_space": [{"type": "float", "name": "x", "low": 0.0, "high": 1.0}],
}


@pytest.mark.parametrize(
    ("method", "study", "pointer", "code"),
    [
        ({"sampler": {"type": "tpe"}, "scheduler": PBT}, SYNTHETIC, "/methods/1/sampler/type", "sampler_with_pbt"),
        ({"sampler": {"type": "grid"}}, {}, "/study/search_space/0/step", "grid_needs_step"),
        ({"scheduler": {"type": "asha", "max_resource": 4, "n_full": 7}}, {}, "/methods/1/scheduler/n_full",
         "above_max_trials"),
        ({"scheduler": {"type": "asha", "max_resource": 4, "min_resource": 5}}, {},
         "/methods/1/scheduler/min_resource", "min_above_max"),
        ({"sampler": {"type": "tpe", "seed": 1}}, {}, "/methods/1/sampler/seed", "seed_of_contest"),
        ({}, {"sampler": {"type": "tpe", "seed": 1}}, "/study/sampler/seed", "seed_of_contest"),
        ({}, {"budget": {"max_epochs": 3}}, "/study/budget/max_epochs", "budget_of_contest"),
        ({"scheduler": {**PBT, "population_size": 7}}, SYNTHETIC, "/budget", "below_population"),
        ({"search_space": SYNTHETIC["search_space"] * 2}, {}, "/methods/1/search_space", "duplicate_name"),
        ({"enqueue": [{"x": 9}]}, {}, "/methods/1/enqueue/0/x", None),
        ({}, {"trainer": {"name": "nobody"}}, "/study/trainer/name", "unknown_trainer"),
        ({"warm_start": {"studies": ["gone"]}}, {}, "/methods/1/warm_start/studies/0", "unknown_study"),
        ({}, {"objectives": [{"metric": "a", "direction": "minimize"}, {"metric": "b", "direction": "minimize"}]},
         "/study/objectives", "needs_one_objective"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_study_is_named_where_the_contest_gave_it(
    api: Api, method: Json, study: Json, pointer: str, code: str | None
) -> None:
    body = contest(methods=[{"name": "fine"}, {"name": "other", **method}])
    body["study"] |= study
    refused(api.post("/contests", body), pointer, code)
    assert (contests(api), api.stored()) == (0, 0)  # all or nothing


def test_an_error_that_only_some_methods_have_names_them(api: Api) -> None:
    body = contest(methods=[{"name": "fine"}, {"name": "lattice", "sampler": {"type": "grid"}}])
    assert refused(api.post("/contests", body), "/study/search_space/0/step").startswith("for lattice: ")


def test_a_taken_name_is_refused_whole(api: Api) -> None:
    api.create("c.halving.s5", advance=False)
    body = problem(api.post("/contests", contest()), 409, "name_taken")
    assert "c.halving.s5" in body["detail"]
    assert (contests(api), api.stored()) == (0, 1)
    assert api.post("/contests", contest("d")).status_code == 201
    assert "contest named 'd'" in problem(api.post("/contests", contest("d")), 409, "name_taken")["detail"]


def test_a_repeated_request_gets_the_first_answer_and_creates_nothing(api: Api) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    first = api.post("/contests", contest(), headers=headers)
    again = api.post("/contests", contest(), headers=headers)
    assert (first.status_code, again.text) == (201, first.text)
    problem(api.post("/contests", contest("d"), headers=headers), 422, "idempotency_key_reused")
    assert (contests(api), api.stored()) == (1, 4)


def test_contests_are_listed_by_pages_newest_first(api: Api, other: Api) -> None:
    for name in ("one", "two", "three"):
        assert api.post("/contests", contest(name)).status_code == 201
    page = api.get("/contests?page_size=2").json()
    assert [one["name"] for one in page["items"]] == ["three", "two"]
    assert {(one["state"], one["complete"]) for one in page["items"]} == {("running", "0/4")}
    rest = api.get(f"/contests?page_size=2&page_token={page['next_page_token']}").json()
    assert [one["name"] for one in rest["items"]] == ["one"]
    assert rest["next_page_token"] is None
    problem(api.get("/contests?page_token=xyz"), 400, "malformed")
    assert other.get("/contests").json()["items"] == []


def test_another_projects_contest_is_not_there(api: Api, other: Api) -> None:
    made = api.post("/contests", contest()).json()
    for ref in ("c", made["id"], "x%00y", "é"):
        problem(other.get(f"/contests/{ref}"), 404, "not_found")
        problem(other.get(f"/contests/{ref}/result"), 404, "not_found")


def test_the_table_so_far_and_at_the_end_in_three_formats(api: Api) -> None:
    api.post("/contests", contest(methods=[METHODS[0], {"name": "same"}, {"name": "idle"}]))
    play(api, "c.random.s3", [0.5, 0.25])
    play(api, "c.random.s5", [0.5, 0.375])
    play(api, "c.same.s3", [0.25, 0.75])
    result = api.get("/contests/c/result").json()
    assert (result["state"], result["complete"]) == ("running", "0/6")
    assert (result["metric"], result["max_epochs"], result["seeds"]) == ("loss", 6, [3, 5])
    first, second, third = result["items"]
    assert [first["method"], second["method"], third["method"]] == ["random", "same", "idle"]
    assert [row["mean_rank"] for row in result["items"]] == [1.25, 2.0, 2.75]
    assert (first["value_mean"], first["value_best"], first["best_seed"]) == (0.3125, 0.25, 3)
    assert (second["value_mean"], second["value_ci95"]) == (0.25, None)
    assert third["value_mean"] is None
    assert third["wall_hours"] == 0 < second["wall_hours"]  # nobody has claimed a trial of it
    assert (first["epochs_total"], first["epochs_mean"], first["trials"]) == (12, 6.0, 4)
    for name in ("random", "same", "idle"):
        for seed in (3, 5):
            api.post(f"/studies/c.{name}.s{seed}/stop")
            api.advance(api.get(f"/studies/c.{name}.s{seed}").json())
    assert api.get("/contests/c").json()["complete"] == "6/6"

    answer = api.get("/contests/c/result?format=csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["method"] for row in rows] == ["random", "same", "idle"]
    assert float(rows[0]["value_mean"]) == 0.3125
    assert rows[2]["value_mean"] == ""
    assert {row["state"] for row in rows} == {"finished"}
    assert "test_mean" not in rows[0]

    text = api.get("/contests/c/result?format=md")
    assert text.headers["content-type"].startswith("text/markdown")
    assert "at most 6 epochs a study, 2 seeds; finished, 6/6" in text.text
    assert "| random | 1.25 | 0.3125 ± " in text.text
    refused(api.get("/contests/c/result?format=xml"), "/query/format")


def test_a_contest_with_a_cancelled_study_has_failed_once_all_have_ended(api: Api) -> None:
    api.post("/contests", contest(methods=[METHODS[0]]))
    api.post("/studies/c.random.s3/cancel")
    assert api.get("/contests/c").json()["state"] == "running"
    api.post("/studies/c.random.s5/stop")
    api.advance(api.get("/studies/c.random.s5").json())
    read = api.get("/contests/c").json()
    assert (read["state"], read["complete"]) == ("failed", "2/2")
    (row,) = read["result"]["items"]
    assert (row["finished"], row["failed"], row["running"], row["mean_rank"]) == (1, 1, 0, None)
