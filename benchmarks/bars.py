"""What the control plane must reach, judged on measured figures. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.cell import Cell, Sampler, Side
from benchmarks.stats import Figures

WORKERS, SIZE = 32, 200
SMALL, LARGE = 100, 5000

# Trials/s of Ladder over those of the peer, at least.
RATIOS: tuple[tuple[Sampler, Side, float], ...] = (
    ("tpe", "rdb", 3.0),
    ("tpe", "journal", 1.5),
    ("random", "rdb", 6.0),
    ("random", "journal", 2.5),
)
OF_BEST = 0.85  # throughput at 32 workers over the best of any number
OF_RDB = 0.2  # report to decision over RDBStorage's report + should_prune
GROWTH = 1.2  # cost of a trial at 5,000 finished ones over that at 100


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reached`` is None where a cell that the bar needs was not measured."""

    bar: str
    wanted: str
    reached: float | None
    passed: bool | None


class _Known:
    def __init__(self, figures: Sequence[Figures]) -> None:
        self._by_cell = {one.cell: one for one in figures}

    def find(self, side: Side, sampler: Sampler, workers: int, size: int) -> Figures | None:
        return self._by_cell.get(Cell(side, sampler, workers, size))

    def ratio(self, of: Callable[[Figures], float], above: Figures | None, below: Figures | None) -> float | None:
        return None if above is None or below is None else of(above) / of(below)


def bars(figures: Sequence[Figures]) -> list[Verdict]:
    """All bars in their order, those that were not measured too."""
    known = _Known(figures)
    verdicts = [
        _at_least(
            f"{sampler}: trials/s over {side}'s, W={WORKERS}, size {SIZE}",
            known.ratio(_rate, known.find("ladder", sampler, WORKERS, SIZE), known.find(side, sampler, WORKERS, SIZE)),
            least,
        )
        for sampler, side, least in RATIOS
    ]
    for sampler in ("tpe", "random"):
        verdicts += _of_sampler(known, figures, sampler)
    return verdicts


def _of_sampler(known: _Known, figures: Sequence[Figures], sampler: Sampler) -> list[Verdict]:
    ours = known.find("ladder", sampler, WORKERS, SIZE)
    over_w = [f for f in figures if (f.cell.side, f.cell.sampler, f.cell.size) == ("ladder", sampler, SIZE)]
    best = max(over_w, key=_rate, default=None) if len(over_w) > 1 else None
    verdicts = [
        _at_least(f"{sampler}: trials/s at W={WORKERS} over own best over W", known.ratio(_rate, ours, best), OF_BEST)
    ]
    rdb = known.find("rdb", sampler, WORKERS, SIZE)
    for index, name in enumerate(("p50", "p99")):
        reached = known.ratio(partial(_report_ms, index), ours, rdb)
        verdicts.append(_at_most(f"{sampler}: report to decision {name} over rdb's, W={WORKERS}", reached, OF_RDB))
    for workers in (1, WORKERS):
        small, large = (known.find("ladder", sampler, workers, size) for size in (SMALL, LARGE))
        bar = f"{sampler}: cost of a trial at size {LARGE} over that at {SMALL}, W={workers}"
        verdicts.append(_at_most(bar, known.ratio(_rate, small, large), GROWTH))
    return verdicts


def _rate(figures: Figures) -> float:
    return figures.trials_per_s.median


def _report_ms(index: int, figures: Figures) -> float:
    quantiles = figures.call("report")
    assert quantiles is not None
    return quantiles[index].median


def _at_least(bar: str, reached: float | None, wanted: float) -> Verdict:
    return Verdict(bar, f">= {wanted:g}", reached, None if reached is None else reached >= wanted)


def _at_most(bar: str, reached: float | None, wanted: float) -> Verdict:
    return Verdict(bar, f"<= {wanted:g}", reached, None if reached is None else reached <= wanted)
