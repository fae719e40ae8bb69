"""Lists of trials, studies and figures in a notebook and in pandas: whatever is shown is escaped."""

import importlib.util
from typing import Any

import pytest

from api.schemas.studies import StudyRead
from api.schemas.trials import TrialRead
from ladder.errors import LocalError
from ladder.lists import SHOWN, TrialList
from ladder.plots import Plot
from ladder.study import Study
from tests.unit.ladder.serving import STUDY
from tests.unit.ladder.test_client import TRIAL

EVIL = "<script>alert(1)</script>"


def trials(*changes: dict[str, Any]) -> TrialList:
    return TrialList(TrialRead.model_validate({**TRIAL, "number": n, **one}) for n, one in enumerate(changes))


def test_trials_become_a_frame_with_a_column_for_each_parameter() -> None:
    frame = trials({"params": {"lr": 0.1}}, {"params": {"width": 3}, "values": [1.0, 2.0]}).to_pandas()
    assert list(frame.index) == [0, 1]
    assert frame.loc[0, "params.lr"] == 0.1
    assert frame.isna().loc[1, "params.lr"]
    assert list(frame.loc[1, ["values.0", "values.1", "params.width"]]) == [1.0, 2.0, 3]


def test_no_trials_are_a_frame_without_rows() -> None:
    frame = trials().to_pandas()
    assert len(frame) == 0
    assert "value" in frame.columns


@pytest.mark.parametrize("module", ["pandas", "plotly"])
def test_what_is_missing_is_told_with_the_line_that_installs_it(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    for user in ("lists", "plots"):
        monkeypatch.setattr(f"ladder.{user}.find_spec", lambda name: None if name == module else found(name))
    figure = Plot.model_validate({"data": [], "layout": {}, "meta": {"n_trials": 0, "shown": 0, "revision": 0}})
    with pytest.raises(LocalError, match=module) as told:
        trials().to_pandas() if module == "pandas" else figure.to_plotly()
    assert "pip install" in told.value.hint


def test_a_list_of_trials_shows_itself_as_a_table_with_all_text_escaped() -> None:
    html = trials({"params": {"kind": EVIL, "lr": 0.123456789}}, {"params": {}})._repr_html_()
    assert EVIL not in html
    assert "&lt;script&gt;" in html
    assert "<td>0.123457</td>" in html
    assert html.count("<tr>") == 3


def test_a_long_list_shows_its_beginning_and_says_so() -> None:
    html = trials(*[{}] * (SHOWN + 2))._repr_html_()
    assert html.count("<tr>") == SHOWN + 1
    assert html.endswith("<p>2 more</p>")


def test_a_study_shows_itself_with_what_is_wrong_and_all_text_escaped() -> None:
    condition = {"type": "WorkersAvailable", "status": False, "reason": "x", "message": EVIL}
    info = StudyRead.model_validate({**STUDY, "conditions": [condition]})
    html = Study(None, info)._repr_html_()  # type: ignore[arg-type]
    assert EVIL not in html
    assert "&lt;script&gt;" in html
    assert "0.875 trial 3: lr=0.01" in html


def test_a_figure_becomes_plotlys_and_a_page() -> None:
    figure = Plot.model_validate(
        {
            "data": [{"type": "scatter", "x": [1, 2], "y": [3, 4]}], "layout": {"xaxis": {"title": {"text": "trial"}}},
            "meta": {"n_trials": 2, "shown": 2, "revision": 1},
        }
    )  # fmt: skip
    drawn = figure.to_plotly()
    assert list(drawn.data[0].y) == [3, 4]
    assert drawn.layout.xaxis.title.text == "trial"
    assert "Plotly.newPlot" in figure._repr_html_()
