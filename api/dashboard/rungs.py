"""The rungs view of a study, read for one bracket: its table and its chart."""

from dataclasses import dataclass, replace

from sqlalchemy import Connection

from api.dashboard.charts import Chart, Rung, Scale, chart, columns_of
from api.dashboard.heading import Heading
from hpo.domain.merit import INFEASIBLE
from hpo.lifecycle.definitions import Definition
from hpo.spec.study import StudySpec
from hpo.storage import rung_view
from hpo.storage.rung_view import BracketLog, Lane

ROOM = 340  # dots of a whole page
COMPACT_ROOM = 110
NEIGHBOURS = 4  # brackets offered on either side of the one that is shown


@dataclass(frozen=True, slots=True)
class RungsView:
    """``lanes`` are those that may be chosen, out of ``lanes_in_all``; ``title`` names the chosen one.

    ``word`` is what a column is called: trials are compared at rungs, rules take looks.
    """

    title: str
    says: str
    lane: Lane
    lanes: list[tuple[Lane, str]]
    lanes_in_all: int
    last_bracket: int
    word: str
    table: list[Rung]
    chart: Chart


def rungs_view(
    tx: Connection,
    definition: Definition,
    head: Heading,
    *,
    bracket: int | None = None,
    scale: Scale = "shared",
    compact: bool = False,
) -> RungsView | None:
    """A bracket as it stands: the one that is asked for, else the one in which most is going on.

    None in a study that has no rungs, or not that bracket.
    """
    study = head.study.id
    lanes, newest = rung_view.lanes(tx, study, around=bracket)
    lane = _chosen(lanes, bracket)
    if lane is None:
        return None
    counts, running = rung_view.rungs(tx, study, lane.bracket), {}
    climbers = []
    if lane.bracket >= 0:
        running, climbers = rung_view.running_to(tx, study, lane.bracket), rung_view.climbers(tx, study, lane.bracket)
    log = BracketLog(tx, study)
    table = [
        Rung(
            rung=r.rung,
            resource=r.resource,
            reported=r.entries,
            promoted=r.promoted if r.rung < counts[-1].rung else 0,  # a rule notes that the whole ones go on, too
            waiting=r.waiting,
            running=running.get(r.rung, 0),
            cutoff=None,
        )
        for r in counts
    ]
    # Asked of the rungs that are shown alone: a rule may look a thousand times.
    columns = [replace(one, cutoff=_cutoff(definition, lane.bracket, one.rung, log)) for one in columns_of(table)]
    shown = {one.rung: one for one in columns}
    numbers = rung_view.choose(
        tx,
        study,
        lane.bracket,
        {one.rung: one.reported for one in columns if one.reported},
        cuts={one.rung: one.cutoff for one in columns},
        room=COMPACT_ROOM if compact else ROOM,
    )
    entries = rung_view.entries(tx, study, lane.bracket, shown, numbers)
    drawn = chart(
        definition.spec.objective,
        columns,
        entries,
        climbers,
        height=300 if compact else 460,
        scale=scale,
        left_out=len(table) - len(columns),
    )
    spec = definition.spec
    near = _near(lanes, lane)
    return RungsView(
        title=_name(spec, lane),
        says=_says(spec, lane),
        lane=lane,
        lanes=[(one, _name(spec, one)) for one in near],
        lanes_in_all=newest + 1 + sum(one.bracket < 0 for one in lanes),
        last_bracket=newest,
        word="rung" if lane.bracket >= 0 else "look",
        table=columns,
        chart=drawn,
    )


def _chosen(lanes: list[Lane], bracket: int | None) -> Lane | None:
    if bracket is not None:
        return next((one for one in lanes if one.bracket == bracket), None)
    # A study of a rule alone has one rung, at the end: what there is to see is in the rule's lane.
    compared = [one for one in lanes if one.bracket >= 0 and one.rungs > 1] or [one for one in lanes if one.bracket < 0]
    return max(compared or lanes, key=lambda one: (one.running, one.waiting, one.entries, -one.bracket), default=None)


def _near(lanes: list[Lane], lane: Lane) -> list[Lane]:
    """The lanes to choose from: all where they are few, else the neighbours, the first, the last, and the rules'."""
    at = lanes.index(lane)
    wanted = {0, *range(at - NEIGHBOURS, at + NEIGHBOURS + 1)}
    wanted |= {index for index, one in enumerate(lanes) if one.bracket < 0}
    main = sum(one.bracket >= 0 for one in lanes)
    wanted.add(main - 1)
    return [one for index, one in enumerate(lanes) if index in wanted]


def _cutoff(definition: Definition, bracket: int, rung: int, log: BracketLog) -> float | None:
    scheduler = definition.engine.scheduler
    if bracket >= 0:
        loss = scheduler.cutoff(bracket, rung, log)
    else:
        rule = -1 - bracket
        loss = scheduler.rules[rule].cutoff(bracket, rung, log) if rule < len(scheduler.rules) else None
    return None if loss is None or loss >= INFEASIBLE else loss


def _rule(spec: StudySpec, lane: Lane) -> str:
    """The type of the rule that a lane belongs to: the scheduler's own, where that is one, then the pruners'."""
    scheduler = spec.chosen_scheduler
    rules = [scheduler.type] if scheduler is not None and scheduler.type in _OF_RULES else []
    names = [*rules, *(one.type for one in spec.pruners)]
    index = -1 - lane.bracket
    return names[index] if index < len(names) else "stopping"


def _name(spec: StudySpec, lane: Lane) -> str:
    if lane.bracket < 0:
        return f"rule: {_rule(spec, lane)}"
    return f"bracket {lane.bracket}, from {lane.resource} ep"


_OF_RULES = {
    "median": "Whoever's value is worse than the median of its rivals at a look is stopped there.",
    "percentile": "Whoever's value is not among the best percent of its rivals at a look is stopped there.",
    "threshold": "Whoever's value leaves the allowed range is stopped.",
    "patience": "Whoever has not improved for some looks is stopped; each trial is measured by itself.",
    "curve": "Whoever's curve will hardly beat the best whole trial is stopped; each curve has its own chance.",
}
_OF_SCHEDULERS = {
    "fifo": "Every trial is trained whole; nobody is compared before the end.",
    "successive_halving": "A rung is cut once all its trials have come: the best share goes on, the others end.",
    "hyperband": "A rung is cut once all its trials have come: the best share goes on, the others end.",
    "pbt": "A generation at a time: the worst copy weights and params of the best, and all go on.",
}


def _says(spec: StudySpec, lane: Lane) -> str:
    """How trials go on from these rungs, in a sentence."""
    if lane.bracket < 0:
        return _OF_RULES.get(_rule(spec, lane), "Whoever the rule stops ends there.")
    scheduler = spec.chosen_scheduler
    if scheduler is None:
        return ""
    if len(spec.objectives) > 1:
        return (
            "With several objectives a trial is ranked by how many fronts lie before it; drawn is the first objective."
        )
    mode = getattr(scheduler, "mode", None)
    share = getattr(scheduler, "reduction_factor", None)
    if mode in ("promote", "async"):
        return f"A trial waits at its rung and goes on as soon as it is among the best 1/{share} there."
    if mode == "stop":
        return f"On arrival a trial goes on if it is among the best 1/{share} of its rung so far; else it is stopped."
    return _OF_SCHEDULERS.get(scheduler.type, "Every trial goes on to the end unless a rule stops it.")
