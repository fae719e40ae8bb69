"""Figures over HTTP: what they show, that they are bounded, and that plotly takes them."""

import json
import math
from itertools import pairwise
from typing import Any
from uuid import UUID

import plotly.graph_objects as go
import pytest
from httpx import Client, Response

from api.plots import draw
from benchmarks.filled import CONSTRAINED, TWO_OBJECTIVES
from hpo.analysis.observations import level_to_compare
from hpo.spec.search import Objective
from hpo.storage import figures
from hpo.storage.figures import Sample
from hpo.storage.keys import add_key, ensure_project
from tests.integration.api.caller import V1, Api, Hand, Json, problem, refused
from tests.integration.api.filled import fill

PLOTS = ("history", "curves", "parallel", "slice", "contour", "rank", "timeline", "edf", "pareto", "hypervolume",
         "importance")  # fmt: skip
SIZE = 300
AT_NINE = 33  # trials that were compared after 9 steps: each ninth but one, which failed


@pytest.fixture(scope="module")
def filled(client: Client, hand: Hand) -> Api:
    """A project with a study of one objective, ``s``, and one of two with a constraint, ``two``; none changes them."""
    import optuna.importance  # noqa: F401  # takes the process seconds on a busy machine: not within a request

    project = hand.db.write(lambda tx: ensure_project(tx, "plots"))
    token = hand.db.write(lambda tx: add_key(tx, project, scope="admin", name="test"))
    api = Api(client, hand, project, dict.fromkeys(("admin", "write", "read", "worker"), token))
    fill(api, SIZE)
    fill(api, SIZE, "two", **TWO_OBJECTIVES, **CONSTRAINED)
    return api


def figure(answer: Response) -> Json:
    """The figure in an answer, which plotly takes and which holds nothing that JSON has not."""
    assert answer.status_code == 200, answer.text
    assert len(answer.content) <= draw.MOST_BYTES

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in a figure")

    found: Json = json.loads(answer.text, parse_constant=refuse)
    go.Figure(found["data"], found["layout"])  # raises ValueError for what it does not know
    assert not {"title", "template", "width", "height", "font", "paper_bgcolor"} & set(found["layout"])
    assert bool(found["data"]) == (found["meta"]["shown"] > 0)
    assert found["data"] or found["meta"]["reason"]
    return found


def draws(api: Api, plot: str, query: str = "", study: str = "s") -> Json:
    return figure(api.get(f"/studies/{study}/plots/{plot}?{query}", scope="read"))


def trials(api: Api, study: str = "s") -> dict[int, Json]:
    return {one["number"]: one for one in api.get(f"/studies/{study}/trials?page_size=1000").json()["items"]}


@pytest.mark.parametrize("study", ["s", "two"])
@pytest.mark.parametrize("plot", PLOTS)
def test_every_plot_is_a_figure(filled: Api, plot: str, study: str) -> None:
    found = draws(filled, plot, study=study)
    if study == "s" and plot in ("pareto", "hypervolume"):
        assert found["meta"]["reason"].startswith("the study has one objective and so no front")
    else:
        assert found["meta"]["shown"] > 0
        assert found["meta"]["revision"] == 3 * SIZE + 1
    if plot in ("parallel", "slice", "contour", "rank", "edf", "importance"):
        assert (found["meta"]["at_step"], found["meta"]["shown"]) == (9, AT_NINE)


@pytest.mark.parametrize("plot", PLOTS)
def test_a_study_without_results_has_a_reason_instead(api: Api, plot: str) -> None:
    api.create(**TWO_OBJECTIVES)
    found = draws(api, plot)
    assert (found["data"], found["meta"]["shown"]) == ([], 0)
    assert len(found["meta"]["reason"]) > 40


def test_the_history_shows_each_trial_and_the_best_so_far(filled: Api) -> None:
    points, line = draws(filled, "history")["data"]
    known = {number: one for number, one in trials(filled).items() if one["value"] is not None}
    known = {number: one for number, one in known.items() if one["state"] != "failed"}
    assert points["x"] == sorted(known)
    assert points["y"] == pytest.approx([known[number]["value"] for number in points["x"]], rel=1e-6)
    complete = [known[number]["state"] == "complete" for number in points["x"]]
    assert [opacity == 1 for opacity in points["marker"]["opacity"]] == complete
    best, expected = -1.0, []
    for number in line["x"]:
        best = max(best, known[number]["value"])
        expected.append(best)
    assert line["y"] == pytest.approx(expected, rel=1e-6)
    assert line["y"][-1] == pytest.approx(filled.get("/studies/s/best").json()["items"][0]["value"], rel=1e-6)


def test_an_infeasible_trial_is_shown_apart_and_is_never_the_best(filled: Api) -> None:
    feasible, line, infeasible = draws(filled, "history", study="two")["data"]
    broken = {number for number, one in trials(filled, "two").items() if one["feasible"] is False}
    assert set(infeasible["x"]) == broken
    assert not broken & set(feasible["x"])
    assert line["y"][-1] == pytest.approx(max(feasible["y"]), rel=1e-6)
    assert {trace["name"] for trace in draws(filled, "contour", study="two")["data"][1:]} == {
        "Feasible trial",
        "Infeasible trial",
    }


def test_the_front_is_that_of_the_study(filled: Api) -> None:
    found = draws(filled, "pareto", study="two")
    front = filled.get("/studies/two/pareto").json()["items"]
    best = next(trace for trace in found["data"] if "Best Trial" in trace["hovertemplate"])
    shown = sorted(zip(best["x"], best["y"], strict=True))
    assert shown == sorted(tuple(float(f"{value:.7g}") for value in one["values"]) for one in front)
    volume = draws(filled, "hypervolume", study="two")["data"][0]["y"]
    assert volume[-1] == pytest.approx(filled.get("/studies/two/pareto").json()["hypervolume"], rel=1e-6)


@pytest.mark.parametrize("count", [3, 4])
def test_three_objectives_have_a_front_in_space_and_more_are_told_where_to_look(api: Api, count: int) -> None:
    metrics = ["loss", "a", "b", "c"][:count]
    api.create(objectives=[{"metric": metric, "direction": "minimize"} for metric in metrics])
    for trial in api.ask(count=4):
        at = trial["number"]
        api.report(trial, 3, metrics={"loss": at, "a": 3 - at, "b": 1, "c": 1})
    found = draws(api, "pareto")
    if count == 3:
        best = next(trace for trace in found["data"] if "Best Trial" in trace["hovertemplate"])
        assert (best["type"], best["x"], best["y"], best["z"]) == ("scatter3d", [0, 1, 2, 3], [3, 2, 1, 0], [1] * 4)
    else:
        assert found["meta"]["reason"].endswith("see the parallel coordinates")
    assert len(draws(api, "hypervolume")["data"][0]["x"]) == 4
    assert draws(api, "parallel")["layout"]["xaxis"]["ticktext"] == [*metrics, "x"]


def test_curves_are_what_was_reported_with_a_line_at_each_rung(filled: Api) -> None:
    found = draws(filled, "curves", "trials=9,1")
    one, nine = sorted(found["data"], key=lambda trace: trace["meta"]["number"])
    assert (one["x"], nine["x"]) == ([1], list(range(1, 10)))
    told = filled.get("/studies/s/trials/9/metrics").json()["items"]
    assert nine["y"] == pytest.approx([item["metrics"]["val_acc"] for item in told], rel=1e-6)
    assert [shape["x0"] for shape in found["layout"]["shapes"]] == [1, 3, 9]
    losses = draws(filled, "curves", "trials=9&metric=loss")["data"][0]["y"]
    assert losses == pytest.approx([item["metrics"]["loss"] for item in told], rel=1e-6)
    assert draws(filled, "curves", "metric=nothing")["meta"]["reason"] == "no trial has reported 'nothing' yet"


def test_the_best_curves_lie_over_a_pale_sample_of_the_others(filled: Api) -> None:
    found = draws(filled, "curves")
    top = [trace["meta"]["number"] for trace in found["data"] if "opacity" not in trace]
    best = [one["number"] for one in filled.get("/studies/s/best?top=50").json()["items"]]
    assert top[::-1] == best
    assert len(found["data"]) < SIZE
    assert "opacity" in found["data"][0]


def test_what_diverged_or_waits_is_not_drawn(api: Api) -> None:
    api.create()
    good, bad, idle = api.ask(count=3)
    api.report(good, 1, 0.4)
    api.report(good, 3, 0.3)
    api.report(bad, 1, 0.2)
    api.report(bad, 2, "nan")
    curves = {trace["meta"]["number"]: trace for trace in draws(api, "curves")["data"]}
    assert (curves[good["number"]]["y"], curves[bad["number"]]["y"]) == ([0.4, 0.3], [0.2])
    assert idle["number"] not in curves
    assert draws(api, "history")["data"][0]["x"] == [good["number"]]
    assert draws(api, "slice")["data"][0]["x"] == pytest.approx([good["params"]["x"]], rel=1e-6)
    ends = {trace["name"]: trace["customdata"] for trace in draws(api, "timeline")["data"]}
    assert set(ends) == {"complete", "diverged", "running"}
    assert ends["running"] == [[idle["number"], 1, 0, 0]]


def test_the_trial_that_a_confirmation_ends_with_is_no_result_of_the_search(api: Api) -> None:
    fill(api, 90)
    api.hand.execute("UPDATE trial SET final = 'train', loss = -1000 WHERE number = 9 AND project_id = %(p)s",
                     p=api.project)  # fmt: skip
    points, line = draws(api, "history")["data"]
    assert 9 not in points["x"]
    assert max(line["y"]) < 1
    assert draws(api, "slice")["meta"]["shown"] == 87, "two of 90 failed"


def test_a_line_knows_its_trial_and_an_axis_its_scale(filled: Api) -> None:
    found = draws(filled, "parallel")
    scales = found["layout"]["meta"]["dimensions"]
    assert [scale["name"] for scale in scales] == [
        "val_acc", "decay", "dropout", "lr", "momentum", "norm", "optimizer", "width"
    ]  # fmt: skip
    assert [scale["name"] for scale in scales if scale["log"]] == ["decay", "lr"]
    assert set(scales[6]["ticktext"]) == {"sgd", "adamw", "lamb"}
    known, lines = trials(filled), [trace for trace in found["data"] if "meta" in trace]
    assert len(lines) == AT_NINE
    for line in lines:
        params = known[line["meta"]["number"]]["params"]
        low, high = scales[3]["range"]
        assert low + (high - low) * line["y"][3] == pytest.approx(math.log10(params["lr"]), abs=1e-5)
        shown = scales[6]["ticktext"][round(2 * line["y"][6])]
        assert shown == params["optimizer"]
        assert (line["y"][4] == 0) == ("momentum" not in params), "what a trial has not is at the tick None"
    assert {trace["line"]["dash"] for trace in draws(filled, "parallel", study="two")["data"] if "meta" in trace} == {
        "solid",
        "dot",
    }


def test_lines_over_choices_that_are_numbers_know_their_trials_too(api: Api) -> None:
    batch = {"type": "categorical", "name": "batch", "choices": [128, 32, 64]}
    api.create(search_space=[batch], enqueue=[{"batch": size} for size in (64, 128, 32, 64)])
    for trial in api.ask(count=4):
        api.report(trial, 3, trial["number"] / 10)
    found = draws(api, "parallel")
    lines = {trace["meta"]["number"]: trace["y"] for trace in found["data"] if "meta" in trace}
    assert lines == {0: [0, 0.5], 1: [0.3333333, 1], 2: [0.6666667, 0], 3: [1, 0.5]}
    assert found["layout"]["meta"]["dimensions"][1]["ticktext"] == ["32", "64", "128"]


def test_params_and_objective_choose_what_is_shown(filled: Api) -> None:
    assert draws(filled, "slice", "params=norm,lr")["meta"]["params"] == ["norm", "lr"]
    assert draws(filled, "contour", "params=lr,optimizer")["layout"]["xaxis"] == {
        "title": {"text": "lr"},
        "type": "log",
    }
    first, second = (draws(filled, "history", f"objective={which}", "two")["data"][0]["y"] for which in (0, 1))
    assert first != second
    assert all(value == value // 1 for value in second), "params_m of the test study are whole numbers"
    bars = draws(filled, "importance", "method=ped_anova")
    assert "PED-ANOVA for val_acc, n = 33" in bars["layout"]["xaxis"]["title"]["text"]


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("slice?params=lr,nothing", "params", "no_such_parameter"),
        ("contour?params=lr", "params", "wrong_count"),
        ("rank?params=lr,width,dropout,norm,decay", "params", "wrong_count"),
        ("slice?objective=1", "objective", "no_such_objective"),
        ("curves?trials=1,x", "trials", "not_a_number"),
        ("curves?trials=" + ",".join(map(str, range(51))), "trials", "wrong_count"),
        ("curves?metric=a%00b", "metric", "not_printable"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(filled: Api, query: str, field: str, code: str) -> None:
    refused(filled.get(f"/studies/s/plots/{query}"), f"/query/{field}", code)


def test_only_plots_that_there_are_are_drawn(filled: Api) -> None:
    problem(filled.get("/studies/s/plots/pie"), 422, "validation_failed")
    problem(filled.get("/studies/none/plots/history"), 404, "not_found")


@pytest.mark.parametrize("plot", PLOTS)
def test_a_figure_is_sent_again_only_after_an_event(api: Api, plot: str) -> None:
    study = fill(api, 60)
    first = api.get(f"/studies/s/plots/{plot}")
    tag = {"If-None-Match": first.headers["etag"]}
    again = api.get(f"/studies/s/plots/{plot}", headers=tag)
    assert (again.status_code, again.content) == (304, b"")
    assert api.get(f"/studies/s/plots/{plot}?objective=0&params=lr,width", headers=tag).status_code == (
        304 if plot == "importance" else 200
    )
    api.hand.execute("UPDATE study SET last_seq = last_seq + 1 WHERE id = %(id)s", id=study["id"])
    assert api.get(f"/studies/s/plots/{plot}", headers=tag).status_code == 200


def test_a_figure_that_would_be_too_large_shows_fewer_trials(filled: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = draws(filled, "pareto", study="two")
    monkeypatch.setattr(draw, "MOST_BYTES", len(json.dumps(whole)) // 2)
    fewer = draws(filled, "pareto", study="two")
    assert 0 < fewer["meta"]["shown"] < whole["meta"]["shown"]
    monkeypatch.setattr(draw, "MOST_BYTES", 600)
    assert "ask for fewer params" in draws(filled, "parallel")["meta"]["reason"]


def test_a_sample_has_the_best_the_newest_and_an_even_spread(filled: Api) -> None:
    study = UUID(filled.get("/studies/s").json()["id"])
    objective = [Objective(metric="val_acc", direction="maximize")]

    def read(sample: Sample) -> list[Any]:
        level = level_to_compare([(0, 0, 1, SIZE)])
        assert level is not None
        return filled.hand.db.read(lambda tx: figures.at_level(tx, study, level, objective, sample))

    everyone = read(Sample(spread=SIZE))
    assert len(everyone) == SIZE - SIZE // 50, "all but those that failed"
    ranked = sorted(everyone, key=lambda one: -one.values[0])
    assert {one.number for one in read(Sample(best=5))} == {one.number for one in ranked[:5]}
    assert {one.number for one in read(Sample(newest=5))} == {one.number for one in everyone[-5:]}
    spread = [one.number for one in read(Sample(spread=10))]
    assert len(spread) == 10
    assert max(after - before for before, after in pairwise(spread)) <= SIZE // 10 + 1
    assert all(one.step == 1 for one in everyone), "whoever went on is shown with its value there"


def test_trials_of_several_studies_lie_over_each_other(filled: Api) -> None:
    found = figure(filled.get(f"{V1}/plots/compare?t=s/9,two/0", scope="read"))
    assert [(trace["name"], trace["x"][-1]) for trace in found["data"]] == [("s/9", 9), ("two/0", 9)]
    assert found["meta"]["n_trials"] == 2


@pytest.mark.parametrize("along", ["trials", "epochs", "wall", "gpu_hours"])
def test_studies_are_compared_by_what_they_had_spent(filled: Api, along: str) -> None:
    first, second = figure(filled.get(f"{V1}/plots/compare?s=s,two&x={along}"))["data"]
    assert (first["name"], second["name"]) == ("s", "two")
    assert first["x"] == sorted(first["x"])
    assert first["y"] == sorted(first["y"])
    study = filled.get("/studies/s").json()
    assert first["y"][-1] == pytest.approx(filled.get("/studies/s/best").json()["items"][0]["value"], rel=1e-6)
    spent = {"trials": SIZE, "epochs": study["usage"]["epochs"], "gpu_hours": study["usage"]["gpu_hours"]}
    assert along == "wall" or first["x"][-1] == pytest.approx(spent[along], rel=1e-6)


def test_a_comparison_says_where_configurations_differ(api: Api) -> None:
    for name, x in (("a", 0.5), ("b", 0.5), ("c", 0.25)):
        api.create(name, search_space=[{"type": "float", "name": "x", "low": 0, "high": 1},
                                       {"type": "categorical", "name": "k", "choices": [1, True]}],
                   enqueue=[{"x": x, "k": name != "b" or 1}])  # fmt: skip
        api.report(api.ask(name)[0], 3, x)
    same = api.get(f"{V1}/compare?t=a/0,a/0", scope="read").json()
    assert (len(same["items"]), same["differing"]) == (1, [])
    found = api.get(f"{V1}/compare?t=a/0,b/0").json()
    assert [(one["study"], one["number"], one["value"], one["state"]) for one in found["items"]] == [
        ("a", 0, 0.5, "complete"),
        ("b", 0, 0.5, "complete"),
    ]
    assert found["differing"] == ["k"], "1 and true are two choices"
    by_study = api.get(f"{V1}/compare?s=a,c").json()
    assert [(one["study"], one["state"], one["trials"], one["epochs"]) for one in by_study["items"]] == [
        ("a", "running", by_study["items"][0]["trials"], 3),
        ("c", "running", by_study["items"][1]["trials"], 3),
    ]
    assert by_study["differing"] == ["x"]
    assert {one["values"] for one in by_study["items"]} == {None}


def test_a_trial_of_several_objectives_is_compared_in_all_of_them(filled: Api) -> None:
    (item,) = filled.get(f"{V1}/compare?t=two/9").json()["items"]
    assert item["values"] == trials(filled, "two")[9]["values"]
    assert item["value"] == item["values"][0]


def test_what_cannot_be_compared_is_refused(filled: Api, other: Api) -> None:
    for path in (f"{V1}/compare", f"{V1}/plots/compare"):
        for query, field, code in (
            ("", "t", "one_of_two"),
            ("t=s/1&s=s", "t", "one_of_two"),
            ("t=s", "t", "not_a_trial"),
            ("t=s/-1", "t", "not_a_number"),
            ("s=", "s", "wrong_count"),
            ("t=" + ",".join(f"s/{number}" for number in range(21)), "t", "wrong_count"),
        ):
            refused(filled.get(f"{path}?{query}"), f"/query/{field}", code)
        problem(filled.get(f"{path}?s=s,none"), 404, "not_found")
        problem(other.get(f"{path}?s=s"), 404, "not_found")
    problem(filled.get(f"{V1}/compare?t=s/100000"), 404, "not_found")


def test_a_forest_that_is_not_there_yet_is_announced(api: Api) -> None:
    fill(api, 60)
    answer = api.get("/studies/s/plots/importance?method=fanova")
    assert (answer.status_code, answer.headers["retry-after"]) == (202, "2")
    assert answer.json()["meta"]["reason"] == "fANOVA is being computed: ask again in a moment"
