"""How a study has got on: its history, its Pareto front and the hypervolume below it."""

from itertools import groupby

from optuna.visualization import plot_optimization_history, plot_pareto_front
from optuna.visualization._hypervolume_history import _get_hypervolume_history_plot, _HypervolumeHistoryInfo
from sqlalchemy import Connection

from api.plots.figure import PALE, Drawn, traces_of
from api.plots.seen import NO_TRIALS, Ask, Seen, told
from hpo.analysis.frozen_study import FrozenStudy, frozen, shown_distribution, shown_value
from hpo.analysis.hypervolumes import hypervolume_history
from hpo.analysis.importance import searched
from hpo.analysis.observations import Observation
from hpo.analysis.pareto import front, reference_point
from hpo.domain.trial import TrialState
from hpo.space.definition import Space
from hpo.storage import figures
from hpo.storage.figures import Fronts, Sample

HISTORY, FRONT = Sample(50, 250, 400), Sample(spread=400)
STRETCHES = 300  # of a history, in each of which the best trial is shown: the line through them is exact there
VOLUMES = 100  # points of the history of the hypervolume
ON_FRONT = 300  # trials of a front that are shown
HOVERED = 12  # params that are told of a trial on a front
ONE_OBJECTIVE = "the study has one objective and so no front: its history and its best trials say it all"


def read_history(tx: Connection, seen: Seen, ask: Ask, sample: Sample) -> list[Observation]:
    several = len(seen.spec.objectives) > 1
    numbers = seen.head.next_number
    best = figures.best_numbers(tx, seen.head.id, numbers=numbers, which=ask.which, several=several, buckets=STRETCHES)
    return figures.newest_values(
        tx, seen.head.id, seen.spec.objectives, numbers=numbers, sample=sample, also=best, params=False
    )


def draw_history(seen: Seen, ask: Ask) -> Drawn:
    """Every trial at its newest step, those that are not complete pale; the line is what ``/best`` would have said."""
    if not seen.observations:
        return Drawn(n_trials=seen.head.next_number, reason=NO_TRIALS)
    objective = seen.objective(ask)
    # Optuna takes numbers for positions: it is given the positions, and gives way to the numbers afterwards.
    numbers = [one.number for one in seen.observations]
    trials = [
        frozen(
            Observation(at, {}, (one.values[ask.which],), one.state, one.step, one.feasible),
            {},
            {},
            constrained=bool(seen.spec.constraints),
        )
        for at, one in enumerate(seen.observations)
    ]
    study = FrozenStudy(trials, [objective])
    data, layout = traces_of(plot_optimization_history(study, target_name=objective.metric))
    shown = []
    for trace in data:
        # The line has nothing to show before the first feasible trial.
        kept = [(at, y) for at, y in zip(trace["x"], trace["y"], strict=True) if y is not None]
        if not kept:
            continue
        ours = [seen.observations[at] for at, _ in kept]
        trace |= {"x": [numbers[at] for at, _ in kept], "y": [y for _, y in kept]}
        if trace["mode"] == "markers":
            trace["customdata"] = [[one.state.value, one.step] for one in ours]
            trace["hovertemplate"] = "#%{x}: %{y}<br>%{customdata[0]} after %{customdata[1]} steps<extra></extra>"
            opacity = [1.0 if one.state is TrialState.COMPLETE else PALE for one in ours]
            trace["marker"] = trace.get("marker", {}) | {"opacity": opacity}
        else:
            trace["line"] = {"shape": "hv"}
        shown.append(trace)
    reported = seen.head.next_number
    sampling = f"the best of {STRETCHES} stretches of the study, {told(seen.sample)}"
    return Drawn(
        shown,
        layout,
        n_trials=reported,
        shown=len(numbers),
        sampling=sampling if len(numbers) < reported and reported > STRETCHES else None,
    )


def read_fronts(tx: Connection, seen: Seen) -> Fronts:
    count = len(seen.spec.objectives)
    return figures.fronts(tx, seen.head.id, count, numbers=seen.head.next_number, stretches=VOLUMES)


def read_front(tx: Connection, seen: Seen, sample: Sample) -> tuple[list[Observation], set[int]]:
    """Trials to show, and the numbers of all that are on the front."""
    found = read_fronts(tx, seen)
    members = [int(found.rows[at][1]) for at in front([row[2:] for row in found.rows])]
    shown = members[:: -(-len(members) // max(1, ON_FRONT >> _halvings(sample)))] if members else []
    observations = figures.newest_values(
        tx, seen.head.id, seen.spec.objectives, numbers=seen.head.next_number, sample=sample, also=shown
    )
    return observations, set(members)


def _halvings(sample: Sample) -> int:
    return (FRONT.spread // max(1, sample.spread)).bit_length() - 1


def draw_pareto(seen: Seen, members: set[int]) -> Drawn:
    count = len(seen.spec.objectives)
    if count == 1:
        return Drawn(reason=ONE_OBJECTIVE)
    if count > 3:
        reason = f"a front can be drawn for 2 or 3 objectives, the study has {count}: see the parallel coordinates"
        return Drawn(n_trials=seen.head.next_number, reason=reason)
    if not seen.observations:
        return Drawn(n_trials=seen.head.next_number, reason=NO_TRIALS)
    params = searched(Space.of(seen.spec))[:HOVERED]
    distributions = {param.name: shown_distribution(param) for param in params}
    trials = []
    for one in seen.observations:
        values = {p.name: shown_value(p, one.params[p.name]) for p in params if p.name in one.params}
        held = {name: distributions[name] for name in values}
        trials.append(frozen(one, values, held, constrained=bool(seen.spec.constraints)))
    study = FrozenStudy(trials, seen.spec.objectives)
    data, layout = traces_of(plot_pareto_front(study))
    shown = sum(one.number in members for one in seen.observations)
    sampling = f"{shown} of the {len(members)} trials on the front, {told(seen.sample)}"
    n_trials = seen.head.next_number
    return Drawn(
        data,
        layout,
        n_trials=n_trials,
        shown=len(trials),
        sampling=sampling if len(trials) < n_trials and n_trials > seen.sample.size else None,
    )


def draw_hypervolume(seen: Seen, found: Fronts | None) -> Drawn:
    """Drawn as Optuna draws it, but of up to 100 points in the study's life: Optuna's takes minutes for many trials."""
    if found is None:
        return Drawn(reason=ONE_OBJECTIVE)
    if not found.n:
        return Drawn(n_trials=seen.head.next_number, reason=NO_TRIALS)
    stretches = [list(rows) for _, rows in groupby(found.rows, key=lambda row: row[0])]
    losses = [[row[2:] for row in rows] for rows in stretches]
    volumes = hypervolume_history(losses, reference_point([found.worst, found.best]))
    numbers = [int(rows[-1][1]) for rows in stretches]
    data, layout = traces_of(_get_hypervolume_history_plot(_HypervolumeHistoryInfo(numbers, volumes)))
    return Drawn(
        data,
        layout,
        n_trials=found.n,
        shown=len(numbers),
        sampling=f"{VOLUMES} stretches of the study, all feasible trials up to the end of each",
    )
