"""Params against the objective: slice, parallel coordinates, rank and contour, all at one rung; and the values' EDF."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from optuna.visualization import plot_edf, plot_rank, plot_slice
from optuna.visualization._parallel_coordinate import (
    _DimensionInfo,
    _get_parallel_coordinate_info,
    _get_parallel_coordinate_plot,
)
from optuna.visualization._utils import COLOR_SCALE

from api.plots.figure import Drawn, traces_of
from api.plots.seen import NO_LEVEL, Ask, Seen
from hpo.analysis.frozen_study import FrozenStudy, frozen, label, numeric_choices, shown_distribution, shown_value
from hpo.analysis.landscape import Axis, landscape
from hpo.analysis.observations import Observation
from hpo.domain.history import ParamValue
from hpo.spec.space import CategoricalParam, Param
from hpo.storage.figures import Sample

SLICE, PARALLEL, EDF = Sample(50, 150, 800), Sample(50, 50, 300), Sample(spread=2_000)
RANK, CONTOUR = Sample(50, 150, 600), Sample(100, 200, 1_700)
DOTS = 400  # of the trials under a contour
SLICED, LINED, RANKED = 6, 12, 4  # parameters that are shown at most unless they are asked for, and with rank at all


def draw_slice(seen: Seen, ask: Ask) -> Drawn:
    params = seen.chosen(ask, SLICED)
    if (nothing := _nothing(seen, params)) is not None:
        return nothing
    data, layout = traces_of(
        plot_slice(_one(seen, ask, params), [p.name for p in params], target_name=seen.objective(ask).metric)
    )
    for trace in data:
        if isinstance(trace.get("marker", {}).get("color"), list):  # Optuna colours by the trials' numbers
            trace["customdata"] = trace["marker"]["color"]
            trace["hovertemplate"] = "#%{customdata}: %{y} at %{x}<extra></extra>"
    return _drawn(seen, data, layout, params)


def draw_parallel(seen: Seen, ask: Ask) -> Drawn:
    """A line a trial in SVG, as Optuna draws them: ``parcoords`` of plotly.js compiles code, which our CSP forbids.

    Several objectives have an axis each; lines are then coloured by the front they are on. Lines have points, so that
    an axis can be brushed: what is selected tells its trial in the ``meta`` of its trace, and ``layout.meta`` has the
    scales, from which an axis runs from 0 to 1. Values on a logarithmic one are exponents of ten.
    """
    params = seen.chosen(ask, LINED)
    if (nothing := _nothing(seen, params)) is not None:
        return nothing
    # Optuna sorts the lines by choices that are numbers and tells nobody: what it finds sorted stays as it is.
    sorts = [param for param in params if isinstance(param, CategoricalParam) and numeric_choices(param)]
    sorts.sort(key=lambda param: param.name)
    observations = sorted(seen.observations, key=lambda one: [_place(one, param) for param in sorts])
    ours = replace(seen, observations=observations)
    study = _all(ours, params) if len(seen.spec.objectives) > 1 else _one(ours, ask, params)
    names = sorted(param.name for param in params)  # Optuna's order
    info = _get_parallel_coordinate_info(study, names, target_name=seen.objective(ask).metric)
    data, layout = traces_of(_get_parallel_coordinate_plot(info))
    for trace, at in zip(data, info.draw_order, strict=False):  # the legend and the colour bar follow
        number = observations[at].number
        trace |= {"mode": "lines+markers", "marker": {"size": 3}, "name": f"#{number}", "meta": {"number": number}}
    data[-1]["marker"]["colorbar"].pop("tickvals", None)  # one for each of dozens of fronts
    for annotation in layout["annotations"]:
        del annotation["font"]  # its grey cannot be read on a dark page
    dimensions = [*info.dims_objectives, *info.dims_params]
    objectives = [dimension.label for dimension in info.dims_objectives]
    scales = [_scale_of(one, name) for one, name in zip(dimensions, [*objectives, *names], strict=True)]
    layout |= {"dragmode": "select", "meta": {"dimensions": scales}}
    return _drawn(seen, data, layout, params)


def _place(one: Observation, param: Param) -> float:
    """In the order of an axis: a parameter that the trial has not comes first."""
    return float(one.params[param.name]) if param.name in one.params else -math.inf


def _scale_of(one: _DimensionInfo, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "range": list(one.range),
        "log": one.is_log,
        "categorical": one.is_cat,
        "tickvals": one.tickvals,
        "ticktext": one.ticktext,
    }


def draw_rank(seen: Seen, ask: Ask) -> Drawn:
    params = seen.chosen(ask, 2)
    if (nothing := _nothing(seen, params, fewest=2)) is not None:
        return nothing
    data, layout = traces_of(
        plot_rank(_one(seen, ask, params), [param.name for param in params], target_name=seen.objective(ask).metric)
    )
    return _drawn(seen, data, layout, params)


def draw_contour(seen: Seen, ask: Ask) -> Drawn:
    """Our own: Optuna's has a cell for each pair of trials, 50 MB for 2,000 of them (optuna issue 3688)."""
    params = seen.chosen(ask, 2)
    if (nothing := _nothing(seen, params, fewest=2)) is not None:
        return nothing
    x, y = params[:2]
    objective = seen.objective(ask)
    found = landscape(x, y, objective, seen.observations, which=ask.which)
    if not found.n:
        reason = f"no feasible trial has both {x.name} and {y.name}: choose parameters that are active together"
        return Drawn(n_trials=seen.n_trials, reason=reason, at_step=_step(seen))
    surface = {
        "type": "contour",
        "x": _ticks(found.x),
        "y": _ticks(found.y),
        "z": found.best,
        "colorbar": {"title": {"text": objective.metric}},
        "colorscale": _scale(),
        "connectgaps": True,
        "contours": {"coloring": "heatmap"},
        "hovertemplate": f"{x.name} %{{x}}<br>{y.name} %{{y}}<br>best %{{z}}<extra></extra>",
        "line": {"smoothing": 1.3},
        "reversescale": objective.direction == "minimize",
    }
    both = [one for one in seen.observations if x.name in one.params and y.name in one.params]
    dots = _thinned(both, DOTS)
    data = [surface, *_dots(dots, (x, y), ask.which)]
    layout = {"xaxis": _axis(found.x), "yaxis": _axis(found.y), "showlegend": False}
    return _drawn(seen, data, layout, params[:2])


def draw_edf(seen: Seen, ask: Ask) -> Drawn:
    if not seen.observations:
        return Drawn(reason=NO_LEVEL)
    data, layout = traces_of(plot_edf([_one(seen, ask, ())], target_name=seen.objective(ask).metric))
    return _drawn(seen, data, layout, ())


def _nothing(seen: Seen, params: Sequence[Param], *, fewest: int = 1) -> Drawn | None:
    if not seen.observations:
        return Drawn(n_trials=seen.n_trials, reason=NO_LEVEL)
    if len(params) < fewest:
        wanted = "a parameter" if fewest == 1 else f"{fewest} parameters"
        reason = f"needs {wanted} that trials have a value of, {len(params)} of those asked for have: choose others"
        return Drawn(n_trials=seen.n_trials, reason=reason, at_step=_step(seen))
    return None


def _step(seen: Seen) -> int | None:
    return None if seen.level is None else seen.level.resource


def _drawn(seen: Seen, data: Sequence[Any], layout: dict[str, Any], params: Sequence[Param]) -> Drawn:
    return Drawn(
        data,
        layout,
        n_trials=seen.n_trials,
        shown=len(seen.observations),
        at_step=_step(seen),
        params=tuple(param.name for param in params),
        sampling=seen.sampling,
    )


def _one(seen: Seen, ask: Ask, params: Sequence[Param]) -> FrozenStudy:
    """The study with one of its objectives."""
    ours = [
        Observation(one.number, one.params, (one.values[ask.which],), one.state, one.step, one.feasible)
        for one in seen.observations
    ]
    return _study(seen, ours, params, [seen.objective(ask)])


def _all(seen: Seen, params: Sequence[Param]) -> FrozenStudy:
    return _study(seen, seen.observations, params, seen.spec.objectives)


def _study(seen: Seen, ours: Sequence[Observation], params: Sequence[Param], objectives: Sequence[Any]) -> FrozenStudy:
    shown = {param.name: shown_distribution(param) for param in params}
    trials = []
    for one in ours:
        values = {p.name: shown_value(p, one.params[p.name]) for p in params if p.name in one.params}
        held = {name: shown[name] for name in values}
        trials.append(frozen(one, values, held, constrained=bool(seen.spec.constraints)))
    return FrozenStudy(trials, objectives, name=seen.spec.name)


def _thinned(observations: Sequence[Observation], most: int) -> list[Observation]:
    step = max(1, -(-len(observations) // most))
    return list(observations[::step])


def _dots(observations: Sequence[Observation], params: tuple[Param, Param], which: int) -> list[dict[str, Any]]:
    """Feasible trials in one trace, the others, if any, pale in another."""
    traces = []
    for feasible, colour in ((True, "black"), (False, "#cccccc")):
        ours = [one for one in observations if one.feasible == feasible]
        x, y = ([_shown(param, one.params[param.name]) for one in ours] for param in params)
        trace = {
            "type": "scatter",
            "mode": "markers",
            "name": "Feasible trial" if feasible else "Infeasible trial",
            "x": x,
            "y": y,
            "customdata": [[one.number, one.values[which]] for one in ours],
            "hovertemplate": "#%{customdata[0]}: %{customdata[1]}<extra></extra>",
            "marker": {"color": colour, "size": 4, "line": {"width": 1, "color": "gray"}},
        }
        if ours:
            traces.append(trace)
    return traces


def _shown(param: Param, value: ParamValue) -> Any:
    return label(value) if isinstance(param, CategoricalParam) else value


def _ticks(axis: Axis) -> list[Any]:
    return [_shown(axis.param, value) for value in axis.at]


def _scale() -> list[list[Any]]:
    return [[at / (len(COLOR_SCALE) - 1), colour] for at, colour in enumerate(COLOR_SCALE)]


def _axis(axis: Axis) -> dict[str, Any]:
    told: dict[str, Any] = {"title": {"text": axis.param.name}}
    if isinstance(axis.param, CategoricalParam):
        return told | {"type": "category", "categoryorder": "array", "categoryarray": _ticks(axis)}
    return told | {"type": "log"} if getattr(axis.param, "log", False) else told
