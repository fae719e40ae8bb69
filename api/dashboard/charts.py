"""The rungs view as geometry: from counts, cut-offs and a choice of trials to what a template writes into an SVG.

One column a rung, from the lowest. Up is better, whatever the objective's direction. Pure arithmetic: no request, no
database, no template.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from api.dashboard.render import number
from hpo.spec.search import Objective
from hpo.storage.rung_view import Climber, Entry

WIDTH = 1000
LEFT, RIGHT, TOP = 78, 10, 46
LANE = 20  # height of a row below the values, for those without one
GAP = 9  # between neighbouring dots of a row
MOST_COLUMNS = 12
# Drawn in this order: the last ones lie on top.
FATES = ("stopped", "cancelled", "failed", "promoted", "waiting", "complete")
WORDS = {
    "stopped": "stopped",
    "cancelled": "cancelled",
    "failed": "failed",
    "promoted": "went on",
    "waiting": "waits for promotion",
    "complete": "trained whole",
}
LANES = {"infeasible": "infeasible", "ended": "ended early"}
Scale = Literal["shared", "rung"]


@dataclass(frozen=True, slots=True)
class Rung:
    """Counts of one rung; ``cutoff`` is the loss that a trial needs to go on."""

    rung: int
    resource: int
    reported: int
    promoted: int
    waiting: int
    running: int
    cutoff: float | None


@dataclass(frozen=True, slots=True)
class Dot:
    number: int
    x: float
    y: float
    says: str


@dataclass(frozen=True, slots=True)
class Column:
    """Where a rung stands, and its cut-off line with the value beside it."""

    rung: Rung
    x: float
    width: float
    cut_y: float | None
    cut: str


@dataclass(frozen=True, slots=True)
class Chart:
    """``ways`` joins each trial's dots; ``climbing`` those that run with where they come from, both as SVG paths."""

    width: int
    height: int
    floor: float  # y of the axis' lower end
    columns: list[Column]
    ticks: list[tuple[float, str]]
    lanes: list[tuple[float, str]]
    dots: dict[str, list[Dot]]
    running: list[Dot]
    ways: str
    climbing: str
    shown: int
    of: int
    beyond: int  # dots that lie below the axis' end, and are drawn at it
    left_out: int  # rungs that have no column
    counted: dict[str, int] = field(default_factory=dict)


def columns_of(rungs: Sequence[Rung], most: int = MOST_COLUMNS) -> list[Rung]:
    """At most ``most`` rungs: the first, the last, and an even spread of those between that somebody has reached."""
    if len(rungs) <= most:
        return list(rungs)
    reached = [one for one in rungs[:-1] if one.reported or one.running] or list(rungs[:-1])
    step = (len(reached) - 1) / (most - 2)
    return [*(reached[i] for i in sorted({round(k * step) for k in range(most - 1)})), rungs[-1]]


def chart(
    objective: Objective,
    rungs: Sequence[Rung],
    entries: Sequence[Entry],
    climbers: Sequence[Climber],
    *,
    height: int,
    scale: Scale = "shared",
    left_out: int = 0,
) -> Chart:
    """Lay out a bracket. ``entries`` and ``climbers`` are of these rungs alone."""
    at = {one.rung: index for index, one in enumerate(rungs)}
    lanes = [why for why in LANES if any(one.why == why for one in entries)]
    floor = height - 40 - LANE * len(lanes)
    room = (WIDTH - LEFT - RIGHT) / max(1, len(rungs))
    middle = [LEFT + room * (index + 0.5) for index in range(len(rungs))]
    scales = _scales(rungs, entries, climbers, floor=floor, shared=scale == "shared")
    lane_y = {why: floor + 16 + LANE * index for index, why in enumerate(lanes)}
    swarm = _Swarm(room * 0.36)
    top = rungs[-1].rung if rungs else 0
    entries = [replace(one, fate="complete") if one.rung == top and one.fate == "promoted" else one for one in entries]
    placed: dict[tuple[int, int], tuple[float, float]] = {}
    dots: dict[str, list[Dot]] = {fate: [] for fate in FATES}
    beyond = 0
    # Those that matter are placed first and keep the middle of their column.
    for one in sorted(entries, key=lambda one: -FATES.index(one.fate)):
        index = at[one.rung]
        y, off = (lane_y[one.why or "ended"], False) if one.loss is None else scales[index].place(one.loss)
        beyond += off
        x = middle[index] + swarm.offset(index, y)
        placed[one.number, index] = (x, y)
        value = LANES[one.why] if one.why else number(None if one.loss is None else objective.value(one.loss))
        dots[one.fate].append(Dot(one.number, x, y, f"#{one.number} {value}, {WORDS[one.fate]}"))
    running, climbing = _climbing(objective, rungs, climbers, at=at, middle=middle, scales=scales, placed=placed)
    return Chart(
        width=WIDTH,
        height=height,
        floor=floor,
        columns=[_column(objective, one, middle[i], room, scales[i]) for i, one in enumerate(rungs)],
        ticks=scales[0].ticks(objective) if scales and scale == "shared" else [],
        lanes=[(y, LANES[why]) for why, y in lane_y.items()],
        dots={fate: found for fate, found in dots.items() if found},
        running=running,
        ways=_ways(placed),
        climbing=climbing,
        shown=len(placed),
        of=sum(one.reported for one in rungs),
        beyond=beyond,
        left_out=left_out,
        counted={fate: len(found) for fate, found in dots.items()},
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    """Losses to y: the best at the top; whoever is worse than ``worst`` is drawn at the floor."""

    best: float
    worst: float
    floor: float

    def place(self, loss: float) -> tuple[float, bool]:
        """The y of a loss, and whether it lies beyond the axis."""
        span = self.worst - self.best
        share = (loss - self.best) / span if span > 0 else 0.5
        return TOP + 8 + min(1.0, max(0.0, share)) * (self.floor - TOP - 16), share > 1.0

    def ticks(self, objective: Objective) -> list[tuple[float, str]]:
        low, high = sorted((objective.value(self.best), objective.value(self.worst)))
        step = _nice((high - low) / 4)
        if not step:
            return [(self.place(self.best)[0], number(objective.value(self.best)))]
        first = math.ceil(low / step)
        values = [k * step for k in range(first, math.floor(high / step) + 1)]
        places = max(0, -math.floor(math.log10(step)))
        return [(self.place(objective.loss(value))[0], f"{value:,.{min(places, 9)}f}") for value in values]


def _nice(rough: float) -> float:
    """The step of 1, 2 or 5 times a power of ten next to ``rough``; 0 where there is nothing to divide."""
    if not rough > 0 or not math.isfinite(rough):
        return 0.0
    power = 10.0 ** math.floor(math.log10(rough))
    return power * min((1, 2, 5, 10), key=lambda times: abs(times * power - rough))


def _scales(
    rungs: Sequence[Rung], entries: Sequence[Entry], climbers: Sequence[Climber], *, floor: float, shared: bool
) -> list[_Scale]:
    losses: dict[int, list[float]] = defaultdict(list)
    for one in entries:
        if one.loss is not None:
            losses[one.rung].append(one.loss)
    for rung in rungs:
        if rung.cutoff is not None:
            losses[rung.rung].append(rung.cutoff)
    for climber in climbers:
        if climber.loss is not None:
            losses[climber.rung].append(climber.loss)
    everything = sorted(loss for found in losses.values() for loss in found)
    if shared:
        return [_scale(everything, floor)] * len(rungs)
    return [_scale(sorted(losses[rung.rung]) or everything, floor) for rung in rungs]


def _scale(losses: Sequence[float], floor: float) -> _Scale:
    """From the best to the worst, but for outliers: beyond one and a half times the way to nine tenths of them."""
    if not losses:
        return _Scale(0.0, 1.0, floor)
    best, nine_tenths = losses[0], losses[math.ceil(0.9 * (len(losses) - 1))]
    limit = best + 1.5 * (nine_tenths - best)
    return _Scale(best, max(nine_tenths, min(losses[-1], limit)), floor)


class _Swarm:
    """Side by side what would lie on top of each other: 0, then one to the right, one to the left, and so on."""

    def __init__(self, half: float) -> None:
        self._most = max(1, int(2 * half / GAP))
        self._taken: dict[tuple[int, int], int] = defaultdict(int)

    def offset(self, column: int, y: float) -> float:
        row = (column, round(y / GAP))
        place = self._taken[row] % self._most
        self._taken[row] += 1
        return GAP * ((place + 1) // 2) * (1 if place % 2 else -1)


def _column(objective: Objective, rung: Rung, x: float, room: float, scale: _Scale) -> Column:
    if rung.cutoff is None:
        return Column(rung, x, room, None, "")
    return Column(rung, x, room, scale.place(rung.cutoff)[0], number(objective.value(rung.cutoff)))


def _ways(placed: dict[tuple[int, int], tuple[float, float]]) -> str:
    ways: dict[int, list[tuple[int, tuple[float, float]]]] = defaultdict(list)
    for (trial, index), point in placed.items():
        ways[trial].append((index, point))
    return "".join(_path(point for _, point in sorted(found)) for found in ways.values() if len(found) > 1)


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.0f} {y:.0f}" for x, y in points)


def _climbing(
    objective: Objective,
    rungs: Sequence[Rung],
    climbers: Sequence[Climber],
    *,
    at: dict[int, int],
    middle: Sequence[float],
    scales: Sequence[_Scale],
    placed: dict[tuple[int, int], tuple[float, float]],
) -> tuple[list[Dot], str]:
    """Those that run, between the rung they left and the one they train for, as far as they have come."""
    dots: list[Dot] = []
    paths = []
    swarm = _Swarm(GAP)
    for one in climbers:
        index = at.get(one.rung)
        if index is None:
            continue
        before = rungs[index - 1].resource if index else 0
        share = min(1.0, max(0.0, (one.step - before) / max(1, rungs[index].resource - before)))
        start = middle[index - 1] if index else LEFT
        y = (
            scales[index].place(one.loss)[0]
            if one.loss is not None
            else scales[index].floor - 8 - GAP * (len(dots) % 8)
        )
        # Short of the column itself: its dots are those who have arrived.
        x = start + 26 + share * max(0.0, middle[index] - start - 60)
        x += swarm.offset(index * 1000 + round(x / GAP), y)
        came = placed.get((one.number, index - 1))
        if came is not None:
            paths.append(_path((came, (x, y))))
        value = "no value yet" if one.loss is None else number(objective.value(one.loss))
        says = f"#{one.number} {value}, runs towards rung {one.rung}, epoch {one.step} of {one.target}"
        dots.append(Dot(one.number, x, y, says))
    return dots, "".join(paths)
