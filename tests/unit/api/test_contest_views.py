"""A contest's table as CSV and Markdown: numbers stay numbers, text stays text."""

import csv
import io
from typing import Any

import pytest

from api.contest_views import as_csv, as_markdown, columns, csv_cell
from api.schemas.contests import ContestResult

ROW: dict[str, Any] = {
    "method": "random",
    "mean_rank": 1.5,
    "value_mean": -0.1 - 0.2,  # no short decimal
    "value_ci95": 0.012345678,
    "value_best": -0.25,
    "best_seed": 3,
    "epochs_mean": 400.0,
    "epochs_total": 1200,
    "gpu_hours": 0.5,
    "wall_hours": 0.25,
    "trials": 48,
    "finished": 3,
    "failed": 0,
    "running": 0,
}
EMPTY = ROW | dict.fromkeys(("mean_rank", "value_mean", "value_ci95", "value_best", "best_seed")) | {"method": "idle"}


def result(*rows: dict[str, Any], **changes: Any) -> ContestResult:
    plain = {
        "contest": "c",
        "state": "finished",
        "complete": "6/6",
        "metric": "val_loss",
        "direction": "minimize",
        "max_epochs": 400,
        "seeds": [0, 1, 3],
        "items": rows,
    }
    return ContestResult.model_validate(plain | changes)


def test_csv_holds_the_numbers_in_full_and_nothing_where_there_is_none() -> None:
    random, idle = csv.DictReader(io.StringIO(as_csv(result(ROW, EMPTY))))
    assert float(random["value_mean"]) == ROW["value_mean"]
    assert random["value_best"] == "-0.25"  # a number, though it begins with a minus
    assert (idle["method"], idle["value_mean"], idle["best_seed"]) == ("idle", "", "")
    assert (random["metric"], random["state"], random["complete"]) == ("val_loss", "finished", "6/6")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_text_that_a_spreadsheet_would_run_is_quoted(text: str) -> None:
    assert csv_cell(text) == f"'{text}"
    (row,) = csv.DictReader(io.StringIO(as_csv(result(ROW, metric=text)), newline=""))
    assert row["metric"] == f"'{text}"


@pytest.mark.parametrize("cell", [-1, -0.5, "a=b", "", None, "'x"])
def test_other_cells_stay_as_they_are(cell: Any) -> None:
    assert csv_cell(cell) is cell


def test_the_test_column_is_there_once_a_method_has_a_test_value() -> None:
    without, with_ = result(ROW), result(ROW, EMPTY | {"test_mean": 0.875})
    assert "test_mean" not in columns(without)
    assert "test" not in as_markdown(without).splitlines()[2].split(" | ")
    assert "test_mean" in as_csv(with_).splitlines()[0]
    assert as_markdown(with_).splitlines()[-1].split(" | ")[4] == "0.875"


def test_markdown_is_a_table_whose_rows_have_the_columns_of_its_head() -> None:
    head, empty, *table = as_markdown(result(ROW, EMPTY)).splitlines()
    assert head == "**c**: val\\_loss, minimize; at most 400 epochs a study, 3 seeds; finished, 6/6 studies have ended"
    assert empty == ""
    assert len({line.count(" | ") for line in table}) == 1
    assert table[2] == "| random | 1.5 | -0.3 ± 0.01235 | -0.25 | 400 | 0.5 | 0.25 | 48 | 3/0/0 |"
    assert table[3].startswith("| idle | – | – | – |")


def test_text_cannot_leave_its_cell_of_markdown() -> None:
    text = as_markdown(result(ROW, metric="a|b\n| *c*", max_epochs=None, max_gpu_hours=1.5))
    assert "a\\|b \\| \\*c\\*" in text.splitlines()[0]
    assert "at most 1.5 GPU hours" in text
    assert len(text.splitlines()) == 5


def test_params_that_were_asked_for_are_the_table_of_a_paper() -> None:
    arms = [
        ROW | {"method": "balanced", "params": {"lr": 0.0249, "optimizer": "adam"}, "test_mean": 0.85},
        ROW | {"method": "whole", "params": {"lr": 0.0162, "layers": 132}, "test_mean": 0.81},
    ]
    table = as_markdown(result(*arms)).splitlines()[2:]
    assert table == [
        "| method | lr | optimizer | layers | test accuracy |",
        "| --- | --: | --: | --: | --: |",
        "| balanced | 0.0249 | adam | – | 0.85 |",
        "| whole | 0.0162 | – | 132 | 0.81 |",
    ]
    first, second = csv.DictReader(io.StringIO(as_csv(result(*arms))))
    assert (first["params.lr"], first["params.optimizer"], first["params.layers"]) == ("0.0249", "adam", "")
    assert (second["params.layers"], second["test_mean"]) == ("132", "0.81")


def test_without_a_test_the_params_stand_beside_the_best_value() -> None:
    table = as_markdown(result(ROW | {"params": {"lr": 0.01}})).splitlines()[2:]
    assert table == ["| method | lr | val\\_loss (best) |", "| --- | --: | --: |", "| random | 0.01 | -0.25 |"]
