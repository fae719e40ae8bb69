"""A study as it runs: a live table on a terminal, one line per change elsewhere, JSON Lines for programs."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from api.schemas.studies import RungRead, StudyRead
from api.schemas.trials import EventRead
from hpo.domain.study import STUDY_ENDED, StudyState
from ladder.client import Client
from ladder.errors import ApiError, Unreachable

POLL_S, SHORTEST_S = 1.0, 0.2
PATIENCE_S = 60.0  # an API that is gone for longer ends the watch


@dataclass(frozen=True, slots=True)
class Snapshot:
    study: StudyRead
    rungs: tuple[RungRead, ...]

    @property
    def ended(self) -> bool:
        return self.study.state in STUDY_ENDED

    @property
    def succeeded(self) -> bool:
        """Whether the study has finished, and its winners are confirmed if they are to be."""
        found = self.study.confirmation
        confirmed = self.study.confirm is None or (found is not None and found.state == "finished")
        return self.study.state is StudyState.FINISHED and confirmed


def followed(client: Client, study: str) -> Iterator[Snapshot]:
    """The study until it has ended, then the one that confirms its winners, then what became of them."""
    last: Snapshot | None = None
    for last in snapshots(client, study):
        yield last
    assert last is not None
    found = last.study.confirmation
    if found is not None and found.study_id is not None:
        yield from snapshots(client, str(found.study_id))
        yield from snapshots(client, str(last.study.id))


def snapshots(client: Client, study: str) -> Iterator[Snapshot]:
    """The study now and after each change, the last one when it has ended.

    The event stream says when to look; should it break, looking every second goes on. Raises Unreachable once the API
    has been gone for a minute.
    """
    changed = threading.Event()
    reader = threading.Thread(target=_listen, args=(client, study, changed), name="events", daemon=True)
    reader.start()
    last, gone_since = None, None
    while True:
        changed.clear()  # before looking: what changes from here on is looked at again
        looked_at = time.monotonic()
        try:
            now = Snapshot(client.studies.read(study), tuple(client.studies.rungs(study)))
            gone_since = None
        except Unreachable:
            gone_since = gone_since or looked_at
            if looked_at - gone_since > PATIENCE_S or last is None:
                raise
        else:
            if last is None or _facts(now) != _facts(last):
                yield now
            if now.ended:
                return
            last = now
        changed.wait(POLL_S)
        time.sleep(max(0.0, looked_at + SHORTEST_S - time.monotonic()))


def show(client: Client, study: str, *, out: Console, as_json: bool = False) -> Snapshot:
    """Show the study until it has ended and is confirmed, in the manner that suits ``out``; how it ended."""
    last: Snapshot | None = None
    if as_json:
        for last in followed(client, study):
            out.file.write(json.dumps(as_object(last)) + "\n")
            out.file.flush()
    elif out.is_terminal:
        with Live(console=out, auto_refresh=False) as live:
            for last in followed(client, study):
                live.update(render(last), refresh=True)
    else:
        written = ""
        for last in followed(client, study):
            if (text := line(last)) != written:
                out.file.write(text + "\n")
                out.file.flush()
                written = text
    assert last is not None
    return last


def as_object(snapshot: Snapshot) -> dict[str, Any]:
    return {
        **snapshot.study.model_dump(mode="json"),
        "rungs": [rung.model_dump(mode="json") for rung in snapshot.rungs],
    }


def line(snapshot: Snapshot) -> str:
    """All that moves, in one line without colour."""
    rungs = " ".join(f"{rung.resource}:{rung.reported}" for rung in snapshot.rungs)
    return f"{snapshot.study.name}  {snapshot.study.state}  {_counts(snapshot)}  {_best(snapshot)}  rungs {rungs}"


def event_line(event: EventRead) -> str:
    """An event in one line without colour."""
    trial = "" if event.trial is None else f"trial {event.trial}  "
    facts = " ".join(f"{name}={_word(value)}" for name, value in event.data.items())
    return f"{event.at:%H:%M:%S}  {event.seq}  {event.type}  {trial}{facts}"


def _word(value: object) -> str:
    return (
        f"{value:.6g}" if isinstance(value, float) else str(value) if not isinstance(value, dict) else json.dumps(value)
    )


def render(snapshot: Snapshot) -> Group:
    study = snapshot.study
    head = Text.assemble((study.name, "bold"), "  ", (str(study.state), _COLOURS.get(study.state, "")))
    if study.state_reason:
        head.append(f" ({study.state_reason})")
    waiting = [Text(condition.message, "yellow") for condition in study.conditions if not condition.status]
    usage = f"{study.usage.epochs} epochs spent"
    return Group(
        head, Text(_counts(snapshot)), Text(f"{_best(snapshot)}   {usage}"), *waiting, rung_table(snapshot.rungs)
    )


def rung_table(rungs: tuple[RungRead, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("bracket", "rung", "resource", "reported", "promoted", "waiting", "running", "cut-off"):
        table.add_column(column, justify="right")
    for rung in rungs:
        cutoff = "-" if rung.cutoff is None else f"{rung.cutoff:.4g}"
        values = (rung.bracket, rung.rung, rung.resource, rung.reported, rung.promoted, rung.waiting, rung.running)
        table.add_row(*map(str, values), cutoff)
    return table


_COLOURS = {
    StudyState.RUNNING: "cyan",
    StudyState.FINISHED: "green",
    StudyState.FAILED: "red",
    StudyState.CANCELLED: "red",
    StudyState.PAUSED: "yellow",
}


def _counts(snapshot: Snapshot) -> str:
    return "  ".join(f"{name} {count}" for name, count in snapshot.study.counts.model_dump().items())


def _best(snapshot: Snapshot) -> str:
    best = snapshot.study.best
    if best is None:
        return "best -"
    return f"best {snapshot.study.objective.metric} {best.value:.4f} (trial {best.number}, {best.step} epochs)"


def _facts(snapshot: Snapshot) -> tuple[object, ...]:
    study = snapshot.study
    messages = tuple((condition.type, condition.status, condition.message) for condition in study.conditions)
    return study.state, study.counts, study.best, study.usage, messages, snapshot.rungs


def _listen(client: Client, study: str, changed: threading.Event) -> None:
    try:
        for _ in client.studies.events(study):
            changed.set()
    except (ApiError, OSError):
        # Whatever ended the stream, looking every second goes on and meets the same trouble if it lasts.
        changed.set()
