"""A study taken away as a file: all of it, once, in forms that other programs open."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import optuna
import pyarrow.parquet as pq
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from hpo.storage import exports
from tests.integration.api.caller import Api, Json, problem, refused

SPACE = [
    {"type": "float", "name": "x", "low": 0, "high": 1},
    {"type": "int", "name": "width", "low": 1, "high": 9, "step": 3},
    {"type": "categorical", "name": "kind", "choices": ["=cmd|' /C calc'!A0", "plain", 1, True]},
    {"type": "float", "name": "late", "low": 0.1, "high": 1.0, "step": 0.25, "when": {"kind": "plain"}},
]
FIRST = {"x": 0.5, "width": 4, "kind": "=cmd|' /C calc'!A0"}


@pytest.fixture
def study(api: Api) -> Json:
    """Four trials: complete, diverged, paused at a rung, running; and one that waits."""
    created = api.create(
        search_space=SPACE,
        objectives=[{"metric": "acc", "direction": "maximize"}],
        constraints=[{"metric": "params_m", "op": "<=", "value": 5}],
        scheduler={"type": "asha", "min_resource": 1, "max_resource": 3, "reduction_factor": 3},
        budget={"max_trials": 5},
        enqueue=[FIRST, {"x": 0.25, "width": 1, "kind": "plain", "late": 0.35}],
    )
    trials = api.ask(count=4)
    for index, trial in enumerate(trials[:3]):
        acc: Any = "nan" if index == 1 else 0.5 + index / 10
        answer = api.report(trial, 1, metrics={"acc": acc, "params_m": 2.5 + index, "+odd": -1.5})
        assert answer.status_code == 200
        if answer.json()["decision"] == "continue":
            created["promoted"] = trial
    api.advance(created)
    return created


def _export(api: Api, **query: str) -> Any:
    answer = api.get("/studies/s/export", params=query, scope="read")
    assert answer.status_code == 200, answer.text
    return answer


def test_json_lines_hold_every_trial_with_its_params_and_newest_metrics(api: Api, study: Json) -> None:
    lines = [json.loads(line) for line in _export(api, format="jsonl").text.splitlines()]
    listed = api.get("/studies/s/trials?order_by=number").json()["items"]
    assert len(lines) == len(listed) >= 4
    for line, trial in zip(lines, listed, strict=True):
        metrics, words = line.pop("metrics"), line.pop("non_finite_metrics")
        assert line == trial
        assert bool(metrics) == (trial["last_step"] > 0)
        assert words == ({"acc": "nan"} if trial["number"] == 1 else {})
    assert lines[0]["params"] == FIRST


def test_a_csv_has_a_column_for_each_param_and_metric_and_no_formula(api: Api, study: Json) -> None:
    answer = _export(api, format="csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="s-trials.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    first, diverged = rows[0], rows[1]
    assert first["params.kind"] == "'=cmd|' /C calc'!A0"
    assert (first["params.x"], first["params.width"], first["params.late"]) == ("0.5", "4", "")
    assert (first["metrics.acc"], first["metrics.+odd"], first["metrics.params_m"]) == ("0.5", "-1.5", "2.5")
    assert diverged["metrics.acc"] == "nan"
    assert diverged["params.late"] == "0.35"
    # Text is quoted and numbers are not: a spreadsheet takes each for what it is.
    assert answer.text.splitlines()[1].startswith('0,"')
    assert "," + "-1.5" in answer.text


def test_parquet_has_the_same_rows_with_types(api: Api, study: Json, tmp_path: Path) -> None:
    answer = _export(api, format="parquet")
    path = tmp_path / "t.parquet"
    path.write_bytes(answer.content)
    table = pq.read_table(path).to_pydict()
    assert table["number"] == list(range(len(table["number"])))
    assert table["params.width"][0] == 4
    assert table["params.kind"][0] == FIRST["kind"]
    assert str(pq.read_schema(path).field("created_at").type) == "timestamp[us, tz=UTC]"
    assert table["metrics.acc"][1] != table["metrics.acc"][1]  # NaN


def test_metrics_have_a_line_for_each_step_and_decisions_one_for_each_rung(api: Api, study: Json) -> None:
    steps = [json.loads(line) for line in _export(api, what="metrics", format="jsonl").text.splitlines()]
    assert [(one["number"], one["step"]) for one in steps] == [(0, 1), (1, 1), (2, 1)]
    assert steps[0]["metrics"] == {"acc": 0.5, "params_m": 2.5, "+odd": -1.5}
    decisions = list(csv.DictReader(io.StringIO(_export(api, what="decisions", format="csv").text)))
    told = [one for number in range(3) for one in api.get(f"/studies/s/trials/{number}/decisions").json()["items"]]
    assert sorted((int(one["number"]), int(one["seq"])) for one in decisions) == sorted(
        (number, one["seq"])
        for number in range(3)
        for one in api.get(f"/studies/s/trials/{number}/decisions").json()["items"]
    )
    assert {one["decision"] for one in decisions} == {one["decision"] for one in told}


def test_a_page_ends_anywhere_and_nothing_is_lost_or_doubled(
    api: Api, study: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {
        (what, format): _export(api, what=what, format=format).text
        for what in ("trials", "metrics", "decisions")
        for format in ("csv", "jsonl")
    }
    journal = _trials(_export(api, format="optuna").text)
    for size in (2, 3):
        for limited in (exports.trials, exports.reports, exports.decisions, exports.names_of_trials,
                        exports.names_of_reports, exports.curves):  # fmt: skip
            monkeypatch.setitem(limited.__kwdefaults__ or {}, "limit", size)
        monkeypatch.setattr(exports, "PAGE", size)
        monkeypatch.setattr(exports, "CURVES_PAGE", size)
        for (what, format), text in whole.items():
            assert _export(api, what=what, format=format).text == text, (what, format, size)
        assert _trials(_export(api, format="optuna").text) == journal


def _trials(text: str) -> list[Json]:
    """The logs of a journal without the number of the writer."""
    return [{**json.loads(line), "worker_id": ""} for line in text.splitlines()]


def test_optuna_opens_the_journal_with_the_same_trials_and_best_value(api: Api, study: Json, tmp_path: Path) -> None:
    assert api.report(study["promoted"], 3, metrics={"acc": 0.9, "params_m": 3}).json()["decision"] == "complete"
    path = tmp_path / "journal.jsonl"
    path.write_bytes(_export(api, format="optuna").content)
    found = optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend(str(path))))
    ours = api.get("/studies/s/trials?order_by=number").json()["items"]
    theirs = found.get_trials()
    assert [t.number for t in theirs] == [t["number"] for t in ours]
    assert found.directions == [optuna.study.StudyDirection.MAXIMIZE]
    assert [t.params for t in theirs] == [t["params"] for t in ours]
    assert theirs[0].distributions["width"] == optuna.distributions.IntDistribution(1, 7, step=3)
    assert theirs[0].intermediate_values[1] == 0.5
    assert theirs[1].user_attrs["ladder:state"] == ours[1]["state"] == "pruned"
    complete = [t for t in theirs if t.state is TrialState.COMPLETE]
    assert len(complete) == 1
    assert found.best_value == api.get("/studies/s/best").json()["items"][0]["value"] == 0.9
    assert {t.state for t in theirs} >= {TrialState.COMPLETE, TrialState.RUNNING, TrialState.PRUNED}


def test_what_cannot_be_exported_is_told_before_the_stream_begins(api: Api, other: Api, study: Json) -> None:
    message = refused(api.get("/studies/s/export?format=optuna&what=metrics"), "/query/what", "not_of_format")
    assert "trials" in message
    refused(api.get("/studies/s/export?format=xlsx"), "/query/format")
    problem(other.get("/studies/s/export"), 404, "not_found")


def test_without_pyarrow_the_answer_names_the_line_that_installs_it(
    api: Api, study: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    message = refused(api.get("/studies/s/export?format=parquet"), "/query/format", "not_installed")
    assert "pip install 'ladder-hpo[parquet]'" in message


def test_an_empty_study_gives_a_header_and_no_rows(api: Api) -> None:
    api.create(advance=False)
    assert len(_export(api, format="csv").text.splitlines()) == 1
    assert _export(api, format="jsonl").text == ""
    assert len(_export(api, format="optuna").text.splitlines()) == 3
