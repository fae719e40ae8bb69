"""Learning curves with their rungs, and trials or studies over each other: ours, Optuna has none of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

from sqlalchemy import Connection, Row

from api.plots.figure import PALE, Drawn
from api.plots.seen import NO_TRIALS, Ask, Seen
from hpo.spec.search import Objective
from hpo.storage import figures

TOP, RUNNING, OTHERS = 50, 20, 80  # curves
POINTS = 120  # of a curve
STRETCHES = 200  # of a study that is compared
GREY = "#888888"
Along = Literal["trials", "epochs", "wall", "gpu_hours"]
_ALONG = {"trials": "Trials", "epochs": "Epochs", "wall": "Wall time (h)", "gpu_hours": "Device hours"}


@dataclass(frozen=True, slots=True)
class Curves:
    """``rows`` are curves by number; those in ``top`` are the best, best first."""

    rows: Sequence[Row[Any]]
    top: Sequence[int]
    rungs: Sequence[int] = ()


def read_curves(tx: Connection, seen: Seen, ask: Ask, halvings: int) -> Curves:
    """The best curves and a sample of the others; with ``trials`` those alone."""
    study, several = seen.head.id, len(seen.spec.objectives) > 1
    rungs = sorted({resource for _, _, resource, _ in figures.rungs(tx, study)})
    if ask.trials:
        numbers: Sequence[int] = ask.trials
        top = numbers
    else:
        top = figures.top_numbers(tx, study, which=ask.which, several=several, limit=TOP >> halvings)
        others = figures.other_numbers(
            tx, study, numbers=seen.head.next_number, running=RUNNING >> halvings, spread=OTHERS >> halvings
        )
        numbers = sorted({*top, *others})
    rows = figures.curves(tx, study, numbers, metric=_metric(seen, ask), points=POINTS)
    return Curves([row for row in rows if row.steps], top, rungs)


def _metric(seen: Seen, ask: Ask) -> str | None:
    """None for the first objective, whose losses need not be looked for among the metrics."""
    named = ask.metric or seen.objective(ask).metric
    return None if named == seen.spec.objective.metric else named


def draw_curves(seen: Seen, ask: Ask, found: Curves) -> Drawn:
    """The best in colour over the others, which are pale, with a line at each rung."""
    named = ask.metric or seen.objective(ask).metric
    if not found.rows:
        reason = f"no trial has reported {named!r} yet" if ask.metric or ask.trials else NO_TRIALS
        return Drawn(n_trials=seen.head.next_number, reason=reason)
    objective = seen.spec.objective if _metric(seen, ask) is None else None
    place = {number: at for at, number in enumerate(found.top)}
    # The best last, so that they lie on top.
    rows = sorted(found.rows, key=lambda row: -place.get(row.number, len(place)))
    data = [_curve(row, objective, pale=row.number not in place, one_of_few=len(rows) <= 10) for row in rows]
    lines = [_rung(resource) for resource in found.rungs if resource <= max(row.steps[-1] for row in rows)]
    layout = {
        "xaxis": {"title": {"text": "Step"}},
        "yaxis": {"title": {"text": named}},
        "shapes": lines,
        "showlegend": bool(ask.trials),
        "hovermode": "closest",
    }
    whole = seen.head.next_number
    told = f"the {len(place)} best and a sample of the others" if len(rows) < whole and not ask.trials else None
    return Drawn(data, layout, n_trials=whole, shown=len(rows), sampling=told)


def _curve(row: Row[Any], objective: Objective | None, *, pale: bool, one_of_few: bool) -> dict[str, Any]:
    values = [objective.value(loss) for loss in row.values] if objective else list(row.values)
    trace: dict[str, Any] = {
        "type": "scatter",
        # A curve of one point would not be seen as a line.
        "mode": "lines+markers" if one_of_few or len(row.steps) == 1 else "lines",
        "name": f"#{row.number}",
        "x": list(row.steps),
        "y": values,
        "meta": {"number": row.number, "state": row.state},
        "hovertemplate": f"#{row.number} ({row.state}) step %{{x}}: %{{y}}<extra></extra>",
        "line": {"width": 1.5},
        "marker": {"size": 4},
    }
    if pale:
        trace |= {"opacity": PALE, "line": {"width": 1, "color": GREY}, "marker": {"size": 3, "color": GREY}}
    return trace


def _rung(resource: int) -> dict[str, Any]:
    line = {"color": GREY, "width": 1, "dash": "dot"}
    ends = {"x0": resource, "x1": resource, "y0": 0, "y1": 1, "yref": "paper"}
    return {"type": "line", "layer": "below", "line": line, **ends}


@dataclass(frozen=True, slots=True)
class Rival:
    """A study that is compared, with how it got on (``figures.progress``)."""

    seen: Seen
    rows: Sequence[Row[Any]]


def draw_trials(found: Sequence[tuple[Seen, Curves]], names: Sequence[str], metric: str | None) -> Drawn:
    """The curves of single trials of one or several studies over each other."""
    data = []
    for (seen, curves), name in zip(found, names, strict=True):
        objective = seen.spec.objective if metric in (None, seen.spec.objective.metric) else None
        data += [
            _curve(row, objective, pale=False, one_of_few=len(found) <= 10) | {"name": name} for row in curves.rows
        ]
    if not data:
        return Drawn(n_trials=len(found), reason="none of these trials has reported that yet")
    metrics = {metric or seen.spec.objective.metric for seen, _ in found}
    layout = {
        "xaxis": {"title": {"text": "Step"}},
        "yaxis": {"title": {"text": " / ".join(sorted(metrics))}},
        "showlegend": True,
    }
    return Drawn(data, layout, n_trials=len(found), shown=len(data))


def draw_studies(rivals: Sequence[Rival], along: Along) -> Drawn:
    """The best value so far of each study against what it had spent by then."""
    data = []
    for rival in rivals:
        objective = rival.seen.spec.objective
        lowest = list(accumulate((row.loss for row in rival.rows), _lower))
        points = [
            (getattr(row, along), objective.value(loss))
            for row, loss in zip(rival.rows, lowest, strict=True)
            if loss is not None and getattr(row, along) is not None
        ]
        if points:
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": rival.seen.head.name,
                    "x": [max(0.0, float(x)) for x, _ in points],
                    "y": [y for _, y in points],
                    "line": {"shape": "hv"},
                }
            )
    trials = sum(rival.seen.head.next_number for rival in rivals)
    if not data:
        return Drawn(n_trials=trials, reason=NO_TRIALS)
    metrics = sorted({rival.seen.spec.objective.metric for rival in rivals})
    ways = {rival.seen.spec.objective.direction for rival in rivals}
    layout = {
        "xaxis": {"title": {"text": _ALONG[along]}},
        "yaxis": {"title": {"text": "best " + " / ".join(metrics)}},
        "showlegend": True,
    }
    mixed = "these studies do not search for the same: their values cannot be compared"
    reason = mixed if len(metrics) > 1 or len(ways) > 1 else None
    return Drawn(data, layout, n_trials=trials, shown=trials, reason=reason)


def _lower(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
