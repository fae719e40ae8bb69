"""The rungs view's geometry."""

import re
from itertools import pairwise

import pytest

from api.dashboard.charts import MOST_COLUMNS, TOP, Rung, chart, columns_of
from hpo.spec.search import Objective
from hpo.storage.rung_view import Climber, Entry

ACCURACY = Objective(metric="val_acc", direction="maximize")
LOSS = Objective(metric="loss", direction="minimize")


def rung(index: int, resource: int = 1, reported: int = 1, cutoff: float | None = None) -> Rung:
    return Rung(index, resource, reported, promoted=0, waiting=0, running=0, cutoff=cutoff)


def entry(number: int, loss: float | None, at: int = 0, fate: str = "stopped", why: str | None = None) -> Entry:
    return Entry(number, at, loss, fate, why)


@pytest.mark.parametrize("objective", [ACCURACY, LOSS])
@pytest.mark.parametrize("scale", ["shared", "rung"])
def test_a_better_trial_stands_higher_whatever_the_direction(objective: Objective, scale: str) -> None:
    entries = [entry(number, loss) for number, loss in enumerate([-3.0, -1.0, 0.5, 2.0])]
    drawn = chart(objective, [rung(0)], entries, [], height=400, scale="shared" if scale == "shared" else "rung")
    heights = [dot.y for dot in sorted(drawn.dots["stopped"], key=lambda dot: dot.number)]
    assert heights == sorted(heights)
    assert len(set(heights)) == 4
    assert TOP <= heights[0] < heights[-1] <= drawn.floor


def test_the_cut_off_stands_between_those_who_go_on_and_those_who_do_not() -> None:
    entries = [entry(0, -0.9, fate="promoted"), entry(1, -0.7), entry(2, -0.5)]
    drawn = chart(ACCURACY, [rung(0, cutoff=-0.8), rung(1, 3)], entries, [], height=400)
    cut = drawn.columns[0].cut_y
    assert cut is not None
    assert drawn.dots["promoted"][0].y < cut < min(dot.y for dot in drawn.dots["stopped"])
    assert drawn.columns[0].cut == "0.8"


def test_lines_join_a_trials_dots_from_rung_to_rung() -> None:
    entries = [entry(7, -0.5, at, "promoted") for at in (2, 0, 1)] + [entry(8, -0.4)]
    drawn = chart(ACCURACY, [rung(at, 3**at) for at in range(3)], entries, [], height=400)
    [line] = re.findall(r"M[^M]+", drawn.ways)
    xs = [float(point.split()[0]) for point in line[1:].split("L")]
    assert len(xs) == 3
    assert all(left < right for left, right in pairwise(xs))


def test_an_outlier_does_not_flatten_the_others_and_is_counted() -> None:
    entries = [entry(number, number / 100) for number in range(20)] + [entry(99, 1e6)]
    drawn = chart(LOSS, [rung(0)], entries, [], height=400)
    others = [dot.y for dot in drawn.dots["stopped"] if dot.number != 99]
    assert drawn.beyond == 1
    assert max(others) - min(others) > 150
    assert [dot.y for dot in drawn.dots["stopped"] if dot.number == 99] == [drawn.floor - 8]


def test_who_has_no_value_stands_below_the_axis_and_says_why() -> None:
    entries = [entry(0, -0.5), entry(1, None, why="ended", fate="failed"), entry(2, None, why="infeasible")]
    drawn = chart(ACCURACY, [rung(0)], entries, [], height=400)
    assert [label for _, label in drawn.lanes] == ["infeasible", "ended early"]
    assert drawn.dots["failed"][0].y > drawn.floor
    assert drawn.dots["failed"][0].says == "#1 ended early, failed"


def test_a_climber_stands_between_its_rungs_as_far_as_its_steps() -> None:
    rungs = [rung(0, 1), rung(1, 9)]
    near = Climber(1, 1, step=2, target=9, loss=-0.5)
    far = Climber(2, 1, step=8, target=9, loss=-0.6)
    drawn = chart(ACCURACY, rungs, [entry(1, -0.4, fate="promoted")], [near, far], height=400)
    first, second = sorted(drawn.running, key=lambda dot: dot.number)
    assert drawn.columns[0].x < first.x < second.x < drawn.columns[1].x
    assert drawn.climbing.count("M") == 1  # from the dot of the one that is drawn at its rung
    assert "epoch 8 of 9" in second.says


def test_a_thousand_looks_have_a_dozen_columns_from_the_first_to_the_last() -> None:
    chosen = [one.rung for one in columns_of([rung(at) for at in range(1000)])]
    assert len(chosen) <= MOST_COLUMNS
    assert (chosen[0], chosen[-1]) == (0, 999)
    assert chosen == sorted(set(chosen))


def test_columns_are_of_the_rungs_that_somebody_has_reached() -> None:
    chosen = [one.rung for one in columns_of([rung(at, reported=int(at < 3)) for at in range(100)])]
    assert chosen == [0, 1, 2, 99]


def test_ticks_lie_within_the_axis_and_name_round_values() -> None:
    drawn = chart(ACCURACY, [rung(0)], [entry(0, -0.913), entry(1, -0.141)], [], height=400)
    assert [label for _, label in drawn.ticks] == ["0.2", "0.4", "0.6", "0.8"]
    assert all(TOP <= y <= drawn.floor for y, _ in drawn.ticks)


def test_nothing_to_draw_is_a_chart_without_dots() -> None:
    drawn = chart(LOSS, [rung(0, reported=0)], [], [], height=400)
    assert (drawn.dots, drawn.ways, drawn.shown) == ({}, "", 0)
