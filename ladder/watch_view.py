"""How a study looks on a terminal: progress, rungs with bars, running trials with sparklines, workers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from api.schemas.studies import RungRead, StudyRead
from api.schemas.trials import EventRead, TrialRead
from api.schemas.workers import WorkerRead
from hpo.domain.study import STUDY_ENDED, StudyState
from ladder.targets import ended_trials

BLOCKS = "▁▂▃▄▅▆▇█"
SPARK, BAR = 24, 20  # characters
_COLOURS = {
    StudyState.RUNNING: "cyan",
    StudyState.FINISHED: "green",
    StudyState.FAILED: "red",
    StudyState.CANCELLED: "red",
    StudyState.PAUSED: "yellow",
}


@dataclass(frozen=True, slots=True)
class Curve:
    """A running trial with its (step, value) pairs so far, values of the first objective."""

    trial: TrialRead
    steps: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is shown at once."""

    study: StudyRead
    rungs: tuple[RungRead, ...] = ()
    running: tuple[Curve, ...] = ()
    workers: tuple[WorkerRead, ...] = ()

    @property
    def ended(self) -> bool:
        return self.study.state in STUDY_ENDED

    @property
    def succeeded(self) -> bool:
        """Whether the study has finished, and its winners are confirmed if they are to be."""
        found = self.study.confirmation
        confirmed = self.study.confirm is None or (found is not None and found.state == "finished")
        return self.study.state is StudyState.FINISHED and confirmed


def render(view: Snapshot, at: datetime | None = None) -> Group:
    """All of it, the most important first; ``at`` is now, for the time that is left."""
    parts: list[RenderableType] = [_head(view.study), _progress(view.study, at or datetime.now(UTC))]
    for condition in view.study.conditions:
        if not condition.status:
            parts.append(Text(condition.message, "yellow"))
            if condition.command:
                parts.append(Text(f"  {condition.command}", "bold"))
    if view.rungs:
        parts += [Text(), rung_table(view.rungs, bars=True)]
    if view.running:
        parts += [Text(), _running_table(view.study, view.running)]
    if view.workers:
        parts += [Text(), _worker_table(view.workers)]
    return Group(*parts)


def event_line(event: EventRead, study: str | None = None) -> str:
    """An event in one line without colour."""
    told = [f"{event.at:%H:%M:%S}", *([study] if study else []), event.type]
    told += [] if event.trial is None else [f"trial {event.trial}"]
    return "  ".join([*told, *(f"{name}={_word(value)}" for name, value in event.data.items())])


def rung_table(rungs: Sequence[RungRead], *, bars: bool = False) -> Table:
    table = _table()
    columns = ["bracket", "rung", "resource", "reported", "promoted", "waiting", "running", "cut-off"]
    for column in columns:
        table.add_column(column, justify="right")
    if bars:
        table.add_column("reported: promoted, waiting, out")
    most = max((rung.reported for rung in rungs), default=0)
    for rung in rungs:
        cutoff = "-" if rung.cutoff is None else f"{rung.cutoff:.4g}"
        values = (rung.bracket, rung.rung, rung.resource, rung.reported, rung.promoted, rung.waiting, rung.running)
        table.add_row(*map(str, values), cutoff, *((_bar(rung, most),) if bars else ()))
    return table


def sparkline(values: Sequence[float], width: int = SPARK) -> str:
    """The values as blocks between their lowest and highest; of more than ``width`` the newest are shown."""
    shown = values[-width:]
    if not shown:
        return ""
    low, span = min(shown), max(shown) - min(shown)
    if span == 0:
        return BLOCKS[len(BLOCKS) // 2] * len(shown)
    return "".join(BLOCKS[round((value - low) / span * (len(BLOCKS) - 1))] for value in shown)


def left(study: StudyRead, now: datetime) -> timedelta | None:
    """How long the rest of the trials would take at the pace so far; None before the first, and once it has ended."""
    ended = ended_trials(study)
    if study.state is not StudyState.RUNNING or ended == 0:
        return None
    pace = (now - study.created_at) / ended
    return pace * max(0, study.max_trials - ended)


def _head(study: StudyRead) -> Text:
    head = Text.assemble((study.name, "bold"), "  ", (str(study.state), _COLOURS.get(study.state, "")))
    if study.state_reason:
        head.append(f" ({study.state_reason})")
    counts = "  ".join(f"{name} {count}" for name, count in study.counts.model_dump().items() if count)
    return head.append(f"   {counts}" if counts else "")


def _progress(study: StudyRead, now: datetime) -> Table:
    ended, rest = ended_trials(study), left(study, now)
    told = [f"{ended} of {study.max_trials} trials", f"{study.usage.epochs} epochs spent"]
    if rest is not None and study.state not in STUDY_ENDED:
        told.append(f"{_duration(rest)} left at most")
    row = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=study.max_trials, completed=min(ended, study.max_trials), width=BAR)
    row.add_row(bar, Text("   ".join(told)), Text(_best(study), "green" if study.best else "dim"))
    return row


def _best(study: StudyRead) -> str:
    best = study.best
    if best is None:
        return "best -"
    return f"best {study.objective.metric} {best.value:.4f} (trial {best.number}, {best.step} epochs)"


def _bar(rung: RungRead, most: int) -> Text:
    """How many reported here, of the fullest rung: promoted, then waiting, then those that go no further."""
    width = round(BAR * rung.reported / most) if most else 0
    promoted = round(width * rung.promoted / max(1, rung.reported))
    waiting = min(width - promoted, round(width * rung.waiting / max(1, rung.reported)))
    return Text.assemble(
        ("█" * promoted, "green"), ("▓" * waiting, "yellow"), ("░" * (width - promoted - waiting), "dim")
    )


def _running_table(study: StudyRead, running: Sequence[Curve]) -> Table:
    table = _table()
    for column in ("trial", "epochs", study.objective.metric, "curve", "worker", "params"):
        table.add_column(column, no_wrap=column != "params", overflow="ellipsis")
    for curve in running:
        trial = curve.trial
        values = [value for _, value in curve.steps]
        params = " ".join(f"{name}={_word(value)}" for name, value in trial.params.items())
        newest = "-" if not values else f"{values[-1]:.4g}"
        cells = (str(trial.number), f"{trial.last_step}/{trial.target_step}", newest, sparkline(values))
        table.add_row(*cells, Text(trial.worker or "-"), Text(params))
    return table


def _worker_table(workers: Sequence[WorkerRead]) -> Table:
    table = _table()
    for column in ("worker", "state", "device", "util", "images/s", "trial"):
        table.add_column(column)
    for worker in workers:
        stats = worker.stats
        util = "-" if stats.util is None else f"{stats.util:.0%}"
        speed = "-" if stats.images_per_s is None else f"{stats.images_per_s:.0f}"
        table.add_row(
            *(Text(one or "-") for one in (worker.name, worker.state, worker.device, util, speed, worker.trial))
        )
    return table


def _table() -> Table:
    return Table(box=None, pad_edge=False, header_style="dim")


def _duration(span: timedelta) -> str:
    seconds = round(span.total_seconds())
    if seconds < 90:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _word(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
