"""The table of a study's trials: which columns it may have, and what stands in a line."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row

from api.dashboard.render import duration, number
from hpo.spec.study import StudySpec
from models.catalog import TRAINERS

MAX_COLUMNS = 24  # a page stays below 100 KB
FIRST_PARAMS = 8
OTHERS = {"worker": "Worker", "attempt": "Att", "duration": "Duration", "bracket": "Bracket", "updated_at": "Updated"}


@dataclass(frozen=True, slots=True)
class Column:
    """``key`` stands in the address: params.NAME, metrics.NAME or one of ``OTHERS``; ``sort`` is how to order by it."""

    key: str
    label: str
    numeric: bool
    sort: str | None = None


def columns(spec: StudySpec) -> dict[str, Column]:
    """All that can be chosen, by key."""
    found = [
        Column(f"params.{param.name}", param.name, param.type in ("float", "int"), f"params.{param.name}")
        for param in spec.search_space
    ]
    found += [Column(f"metrics.{name}", name, True) for name in metric_names(spec)]
    found += [
        Column(key, label, key in ("attempt", "duration", "bracket"), key if key == "duration" else None)
        for key, label in OTHERS.items()
    ]
    return {column.key: column for column in found}


def metric_names(spec: StudySpec) -> list[str]:
    """Those that the study speaks of, then what its trainer is known to report."""
    named = [one.metric for one in spec.objectives[1:]] + [one.metric for one in spec.constraints]
    known = TRAINERS[spec.trainer.name].metrics if spec.trainer.name in TRAINERS else ()
    return list(dict.fromkeys([*named, *(name for name in known if name != spec.objective.metric)]))


def usual(spec: StudySpec) -> list[str]:
    """The columns of a table that nobody has changed."""
    searched = [param.name for param in spec.search_space if param.type != "fixed"]
    metrics = [one.metric for one in spec.objectives[1:]] + [one.metric for one in spec.constraints]
    return [
        *(f"params.{name}" for name in searched[:FIRST_PARAMS]),
        *(f"metrics.{name}" for name in dict.fromkeys(metrics) if name != spec.objective.metric),
        *("worker", "attempt", "duration"),
    ]


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    broken: bool = False  # breaks an outcome constraint


@dataclass(frozen=True, slots=True)
class Line:
    """One trial as the table shows it; ``cells`` in the order of the columns."""

    row: Row[Any]
    value: Cell
    cells: Sequence[Cell]
    note: str

    @property
    def number(self) -> int:
        return int(self.row.number)


def lines(
    rows: Sequence[Row[Any]], metrics: Mapping[int, Mapping[str, Any]], spec: StudySpec, chosen: Sequence[Column]
) -> Iterator[Line]:
    for row in rows:
        newest = metrics.get(row.id, {})
        value = Cell(value_text(row, spec), row.violation > 0)
        cells = [_cell(column, row, newest, spec) for column in chosen]
        yield Line(row, value, cells, _note(row))


def value_text(row: Row[Any], spec: StudySpec) -> str:
    """The objective at the newest step; a diverged trial shows what it came to, never 0."""
    if row.loss is not None:
        return number(spec.objective.value(row.loss))
    return {"nan": "NaN", "inf": "∞", "-inf": "-∞"}.get(row.non_finite or "", "–")


def seconds(row: Row[Any]) -> float | None:
    """Time on devices, that of the running attempt with it; None for a trial that nobody has begun."""
    if not row.attempt:
        return None
    now = row.state == "running" and row.claimed_at is not None
    return float(row.device_seconds) + ((datetime.now(UTC) - row.claimed_at).total_seconds() if now else 0.0)


def _cell(column: Column, row: Row[Any], newest: Mapping[str, Any], spec: StudySpec) -> Cell:
    of, _, name = column.key.partition(".")
    if of == "params":
        return Cell(shown(row.params.get(name)))
    if of == "metrics":
        found = newest.get(name)
        return Cell(shown(found), breaks(name, found, spec))
    if column.key == "attempt":
        again = f"/{spec.retry.max_attempts}" if row.attempt > 1 else ""
        return Cell(f"{row.attempt}{again}" if row.attempt else "–")
    if column.key == "duration":
        return Cell(duration(seconds(row)))
    if column.key == "updated_at":
        return Cell(row.updated_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"))
    return Cell(shown(getattr(row, column.key)))


def breaks(metric: str, value: Any, spec: StudySpec) -> bool:
    """Whether a metric's value misses a bound of the study."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return any(one.metric == metric and one.violation(value) > 0 for one in spec.constraints)


def shown(value: Any, length: int = 40) -> str:
    """A param's or a metric's value in a cell."""
    if value is None:
        return "–"
    if isinstance(value, str):
        word = {"nan": "NaN", "inf": "∞", "-inf": "-∞"}.get(value, value)
        return word if len(word) <= length else word[: length - 1] + "…"
    return str(value).lower() if isinstance(value, bool) else number(value)


def _note(row: Row[Any]) -> str:
    if row.error:
        said = f"{row.error.get('type') or 'error'}: {row.error.get('message') or ''}"
        return said.strip().splitlines()[0][:120]
    if row.state == "running" and row.attempt > 1:
        return "resumed"
    return ""
