"""Confusion matrices and the split of the data over the API: what is kept, what is shown, what is refused."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sklearn.metrics import balanced_accuracy_score, precision_recall_fscore_support

from tests.integration.api.caller import Api, Json, problem, refused
from tests.integration.api.test_contests import contest

ASHA = {"type": "asha", "max_resource": 9}
ONE, OTHER = "1" * 64, "2" * 64
MATRIX = [[5, 1, 0], [2, 6, 0], [1, 0, 0]]


def test_a_matrix_is_kept_and_shown_with_the_scores_of_its_classes(api: Api) -> None:
    api.create()
    (trial,) = api.ask()
    names = ["cat", "dog", "bird"]
    assert api.report(trial, 1, confusion=MATRIX, split_sha256=ONE, class_names=names).status_code == 200
    shown = api.get("/studies/s/trials/0/confusion").json()
    assert (shown["step"], shown["class_names"], shown["matrix"]) == (1, names, MATRIX)
    pairs = [(t, p) for t in range(3) for p in range(3) for _ in range(MATRIX[t][p])]
    true, predicted = zip(*pairs, strict=True)
    per_class = precision_recall_fscore_support(true, predicted, zero_division=0)
    macro = precision_recall_fscore_support(true, predicted, average="macro", zero_division=0)
    assert shown["accuracy"] == pytest.approx(11 / 15)
    assert shown["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(true, predicted))
    assert list(shown["macro"].values()) == pytest.approx(macro[:3])
    for index, one in enumerate(shown["per_class"]):
        assert one["name"] == names[index]
        wanted = [column[index] for column in per_class]
        assert [one["precision"], one["recall"], one["f1"], one["support"]] == pytest.approx(wanted)


def test_the_newest_matrix_is_shown_unless_a_step_is_named(api: Api) -> None:
    api.create()
    (trial,) = api.ask()
    earlier = [{"step": 1, "metrics": {"loss": 1}, "confusion": [[3]]}]
    assert api.report(trial, 2, confusion=[[4]], earlier=earlier).json()["decision"] == "continue"
    assert api.report(trial, 3).json()["decision"] == "complete"
    found = [api.get(f"/studies/s/trials/0/confusion{query}").json() for query in ("", "?step=1", "?step=2")]
    assert [(one["step"], one["matrix"], one["class_names"]) for one in found] == [
        (2, [[4]], ["0"]),
        (1, [[3]], ["0"]),
        (2, [[4]], ["0"]),
    ]
    missing = problem(api.get("/studies/s/trials/0/confusion?step=3"), 404, "not_found")
    assert "trial 0 has no confusion matrix at step 3" in missing["detail"]
    assert "confusion" not in api.get("/studies/s/trials/0/metrics").json()["items"][0]["metrics"]


def test_a_trial_without_a_matrix_says_so(api: Api) -> None:
    api.create()
    api.ask()
    assert "200 classes" in problem(api.get("/studies/s/trials/0/confusion"), 404, "not_found")["detail"]
    problem(api.get("/studies/s/trials/9/confusion"), 404, "not_found")
    refused(api.get("/studies/s/trials/0/confusion?step=0"), "/query/step")


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"confusion": [[1, 2], [3]]}, "/confusion"),
        ({"confusion": [[1, 2]]}, "/confusion"),
        ({"confusion": []}, "/confusion"),
        ({"confusion": [[0, 0], [0, 0]]}, "/confusion"),
        ({"confusion": [[-1]]}, "/confusion/0/0"),
        ({"confusion": [[0.5]]}, "/confusion/0/0"),
        ({"confusion": [[True]]}, "/confusion/0/0"),
        ({"confusion": [[1] * 201] * 201}, "/confusion"),
        ({"earlier": [{"step": 1, "metrics": {"loss": 1}, "confusion": [[]]}]}, "/earlier/0/confusion"),
        ({"split_sha256": "abc"}, "/split_sha256"),
        ({"class_names": ["x"] * 201}, "/class_names"),
        ({"class_names": ["x" * 256]}, "/class_names/0"),
    ],
)
def test_a_report_of_something_else_is_refused_by_its_field(api: Api, fields: Json, pointer: str) -> None:
    api.create()
    (trial,) = api.ask()
    refused(api.report(trial, 2, **fields), pointer)
    assert api.get("/studies/s/trials/0/metrics").json()["items"] == []


def test_two_hundred_classes_fit_a_report(api: Api) -> None:
    api.create()
    (trial,) = api.ask()
    matrix = [[123_456] * 200 for _ in range(200)]
    assert api.report(trial, 1, confusion=matrix).status_code == 200
    shown = api.get("/studies/s/trials/0/confusion").json()
    assert shown["matrix"] == matrix
    assert shown["accuracy"] == pytest.approx(1 / 200)


def test_the_split_of_the_first_report_is_the_study_s(api: Api) -> None:
    api.create(scheduler=ASHA)
    assert (api.get("/studies/s").json()["split_sha256"], api.get("/studies/s").json()["class_names"]) == (None, None)
    first, second = api.ask(count=2)
    assert first["split_sha256"] is None
    api.report(first, 1, split_sha256=ONE, class_names=["cat", "dog"])
    api.report(second, 1, split_sha256=ONE)
    study = api.get("/studies/s").json()
    assert (study["split_sha256"], study["class_names"]) == (ONE, ["cat", "dog"])
    (third,) = api.ask()
    assert third["split_sha256"] == ONE


def test_another_split_is_refused_and_nothing_of_its_report_is_kept(api: Api) -> None:
    api.create()
    first, second = api.ask(count=2)
    api.report(first, 1, split_sha256=ONE)
    errors = problem(api.report(second, 1, split_sha256=OTHER), 422, "validation_failed")["errors"]
    assert [(one["pointer"], one["code"]) for one in errors] == [("/split_sha256", "split_differs")]
    assert OTHER in errors[0]["message"]
    assert ONE in errors[0]["message"]
    assert api.get("/studies/s/trials/1/metrics").json()["items"] == []
    assert api.get("/studies/s").json()["split_sha256"] == ONE
    assert api.report(second, 1, split_sha256=ONE).status_code == 200


def test_all_studies_of_a_contest_train_on_one_split(api: Api) -> None:
    made = api.post("/contests", contest()).json()
    for study in made["studies"]:
        api.advance(study)
    (first,), (second,) = api.ask("c.random.s3"), api.ask("c.halving.s5")
    api.report(first, 1, split_sha256=ONE)
    (error,) = problem(api.report(second, 1, split_sha256=OTHER), 422, "validation_failed")["errors"]
    assert f"study c.random.s3 of the same contest trains on {ONE}" in error["message"]
    (later,) = api.ask("c.random.s5")
    assert later["split_sha256"] == ONE
    api.report(second, 1, split_sha256=ONE)
    splits = {study["name"]: study["split_sha256"] for study in api.get("/contests/c").json()["studies"]}
    assert splits == {"c.random.s3": ONE, "c.random.s5": None, "c.halving.s3": None, "c.halving.s5": ONE}


def test_of_first_reports_at_the_same_time_one_decides_for_the_contest(api: Api) -> None:
    made = api.post("/contests", contest()).json()
    trials = [trial for study in made["studies"] for trial in api.ask(study["name"])]
    together = Barrier(len(trials))

    def send(given: tuple[int, Json]) -> Any:
        index, trial = given
        together.wait(10)
        return api.report(trial, 1, split_sha256=str(index) * 64).status_code

    with ThreadPoolExecutor(len(trials)) as pool:
        answers = list(pool.map(send, enumerate(trials)))
    assert sorted(answers) == [200, 422, 422, 422]
    stored = {study["split_sha256"] for study in api.get("/contests/c").json()["studies"]}
    assert stored == {None, str(answers.index(200)) * 64}
