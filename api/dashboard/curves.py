"""A metric over the steps of a trial as a drawing: where things are, in shares of a frame; the page draws the rest."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from api.dashboard.render import number

WIDTH, HEIGHT = 1000.0, 300.0  # of the drawing's own units; the page stretches it
MOST = 1e150  # the height of a frame would overflow
MAX_DOTS = 60  # more would be one thick line


@dataclass(frozen=True, slots=True)
class Mark:
    """A label at ``at`` percent of the frame: from its left for steps, from its top for values."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Dot:
    x: float
    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Cutoff:
    """The value that a trial needs to go on from a rung."""

    x: float
    y: float | None  # None where it lies outside of the frame
    at: float  # percent from the left
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """``gaps``: steps whose value is not finite. Nothing is drawn where a value is missing."""

    metric: str
    path: str
    dots: Sequence[Dot]
    values: Sequence[Mark]
    steps: Sequence[Mark]
    cutoffs: Sequence[Cutoff]
    newest: str
    gaps: int


def chart(
    metric: str,
    points: Sequence[tuple[int, object]],
    rungs: Iterable[tuple[int, str, float | None]] = (),
    *,
    last_step: int,
) -> Chart | None:
    """``points`` are (step, value) rising in step; ``rungs`` are (step, label, cut-off). None without finite values."""
    read = [(step, _number(value), value is not None) for step, value in points]
    known = [(step, value) for step, value, _ in read if value is not None]
    if not known:
        return None
    cuts = list(rungs)
    numbers = [value for _, value in known] + [cut for _, _, cut in cuts if cut is not None]
    low, high = _frame(min(value for _, value in known), max(value for _, value in known), numbers)
    most = max(last_step, *(step for step, _ in known))

    def x(step: float) -> float:
        return round(step / most * WIDTH, 1)

    def y(value: float) -> float:
        return round((high - value) / (high - low) * HEIGHT, 1)

    parts: list[str] = []
    before: float | None = None
    for step, value, _ in read:
        if value is not None:
            parts.append(f"{'M' if before is None else 'L'}{x(step)} {y(value)}")
        before = value
    dotted = known if len(known) <= MAX_DOTS else known[-1:]
    return Chart(
        metric=metric,
        path="".join(parts),
        dots=[Dot(x(step), y(value), f"epoch {step}: {number(value)}") for step, value in dotted],
        values=[Mark(round(100 * y(tick) / HEIGHT, 2), number(tick)) for tick in ticks(low, high, 4)],
        steps=[Mark(round(100 * tick / most, 2), number(int(tick))) for tick in ticks(0, most, 6) if tick == int(tick)],
        cutoffs=[
            Cutoff(
                x(step),
                y(cut) if cut is not None and low <= cut <= high else None,
                round(100 * step / most, 2),
                label if cut is None else f"{label}: cut-off {number(cut)}",
            )
            for step, label, cut in cuts
            if step <= most
        ],
        newest=number(known[-1][1]),
        gaps=sum(given and value is None for _, value, given in read),
    )


def _number(value: object) -> float | None:
    """A number that can be drawn, else None: what is not finite is stored as a word."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST
    return float(value) if good else None  # type: ignore[arg-type]


def _frame(low: float, high: float, numbers: Sequence[float]) -> tuple[float, float]:
    """The values' own range, and those cut-offs that leave the curve at least a third of the height; some air."""
    reach = 3 * (high - low or abs(high) or 1.0)
    near = [one for one in numbers if high - reach <= one <= low + reach]
    low, high = min(near), max(near)
    air = (high - low) * 0.08 or abs(high) * 0.1 or 0.5
    return low - air, high + air


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers within the range, ``about`` so many."""
    rough = (high - low) / about
    if not (rough > 0 and math.isfinite(rough)):
        return [low]
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * by for by in (1, 2, 5, 10) if unit * by >= rough)
    first = math.ceil(low / step)
    return [float(f"{at * step:.12g}") for at in range(first, math.floor(high / step) + 1)]
