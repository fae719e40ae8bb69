"""From what workers noted to the figures of a cell, and from the figures to the bars. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.cell import REPORTS, Cell, Window


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Of one kind of call, in milliseconds."""

    p50_ms: float
    p99_ms: float
    count: int


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a cell. ``per_trial`` are counts per trial: reports, empty claims, trials that ended early."""

    trials_per_s: float
    calls: Mapping[str, Quantiles]
    per_trial: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Spread:
    """Median over the runs, with the least and the greatest."""

    median: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Figures:
    """A cell over all its runs."""

    cell: Cell
    runs: tuple[Run, ...]
    trials_per_s: Spread = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "trials_per_s", spread(run.trials_per_s for run in self.runs))

    def call(self, kind: str) -> tuple[Spread, Spread] | None:
        """p50 and p99 of a kind of call in milliseconds; None if the side has no such call."""
        found = [run.calls[kind] for run in self.runs if kind in run.calls]
        return (spread(one.p50_ms for one in found), spread(one.p99_ms for one in found)) if found else None

    def per_trial(self, count: str) -> float:
        return median(run.per_trial.get(count, 0.0) for run in self.runs)


def spread(values: Iterable[float]) -> Spread:
    known = list(values)
    return Spread(median(known), min(known), max(known))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank quantile of values in rising order."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def run_of(window: Window) -> Run:
    """The figures of one run. Raises RuntimeError if trials did not get their reports: nothing could be compared."""
    logs = window.logs
    trials = sum(
        max(0.0, min(ended, window.ended) - max(began, window.began)) / (ended - began)
        for log in logs
        for began, ended in log.trials
    )
    durations: dict[str, list[float]] = {}
    for log in logs:
        for kind, noted in log.calls.items():
            inside = (1000 * (ended - began) for began, ended in noted if window.began <= ended < window.ended)
            durations.setdefault(kind, []).extend(inside)
    calls = {
        kind: Quantiles(quantile(ordered, 0.5), quantile(ordered, 0.99), len(ordered))
        for kind, values in durations.items()
        if (ordered := sorted(values))
    }
    whole = sum(len(log.trials) for log in logs)
    counts = {name for log in logs for name in log.counts}
    per_trial = {name: sum(log.counts[name] for log in logs) / whole for name in counts}
    if per_trial["reports"] != REPORTS:
        raise RuntimeError(f"each trial must get {REPORTS} reports for the sides to compare, got {per_trial}")
    return Run(trials / (window.ended - window.began), calls, per_trial)
