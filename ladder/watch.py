"""A study as it runs: a live view on a terminal, one line per event elsewhere, JSON Lines of events for programs."""

import json
import os
import threading
import time
from collections.abc import Iterator

from rich.console import Console
from rich.live import Live

from api.schemas.studies import StudyRead
from api.schemas.trials import EventRead, TrialRead
from api.schemas.workers import WorkerRead
from hpo.domain.study import STUDY_ENDED
from hpo.spec.study import EXTERNAL
from ladder.client import Client
from ladder.errors import ApiError, Unreachable
from ladder.watch_view import Curve, Snapshot, event_line, render

POLL_S, SHORTEST_S = 1.0, 0.2
PATIENCE_S = 60.0  # an API that is gone for longer ends the watch
MOST_SHOWN = 8  # running trials with their curves, and workers


def show(client: Client, study: str, *, out: Console, as_json: bool = False) -> Snapshot:
    """Show the study until it has ended and is confirmed, in the manner that suits ``out``; how it ended.

    Without a terminal, or with NO_COLOR, nothing moves: each event is a line.
    """
    if out.is_terminal and not as_json and not os.environ.get("NO_COLOR"):
        last: Snapshot | None = None
        with Live(console=out, auto_refresh=False) as live:
            for last in followed(client, study):
                live.update(render(last), refresh=True)
        assert last is not None
        return last
    for name, event in told(client, study):
        text = json.dumps({"study": name, **event.model_dump(mode="json")}) if as_json else event_line(event, name)
        out.file.write(text + "\n")
        out.file.flush()
    return Snapshot(client.studies.read(study))


def told(client: Client, study: str) -> Iterator[tuple[str, EventRead]]:
    """The events of the study and of the one that confirms it, each with its study's name, until both have ended."""
    name = client.studies.read(study).name
    for event in patient_events(client, study):
        yield name, event
        confirming = event.data.get("confirmation")
        if isinstance(confirming, dict) and confirming.get("state") == "running":
            other = str(confirming["study"])
            yield from ((other, each) for each in patient_events(client, other))


def patient_events(client: Client, study: str) -> Iterator[EventRead]:
    """Events as the stream brings them; while it breaks, those that asking every second brings.

    Raises Unreachable once the API has been gone for a minute.
    """
    cursor, gone_since, live = None, None, True
    while True:
        try:
            for event in client.studies.events(study, after=cursor, follow=live):
                cursor, gone_since = event.seq, None
                yield event
            if live:
                return
            live = True
        except Unreachable:
            gone_since = gone_since or time.monotonic()
            if time.monotonic() - gone_since > PATIENCE_S:
                raise
            live = not live
        time.sleep(POLL_S)


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
    looks = _Looks(client, study)
    last, gone_since = None, None
    while True:
        changed.clear()  # before looking: what changes from here on is looked at again
        looked_at = time.monotonic()
        try:
            now = looks.now()
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


class _Looks:
    """Looks at one study; the curves of running trials are kept, so that a look asks for their new steps only."""

    def __init__(self, client: Client, study: str) -> None:
        self._client, self._study = client, study
        self._curves: dict[int, dict[int, float]] = {}

    def now(self) -> Snapshot:
        client = self._client
        study = client.studies.read(self._study)
        running = () if study.state in STUDY_ENDED else self._running(study)
        rungs = tuple(client.studies.rungs(self._study))
        workers: tuple[WorkerRead, ...] = ()
        if running and study.trainer.name != EXTERNAL:
            queue = study.trainer.resources.queue
            workers = tuple(worker for worker in client.workers.list() if worker.queue == queue)[:MOST_SHOWN]
        return Snapshot(study, rungs, running, workers)

    def _running(self, study: StudyRead) -> tuple[Curve, ...]:
        if not study.counts.running:
            return ()
        trials = self._client.studies.trials(self._study, state="running", limit=MOST_SHOWN)
        metric = study.objective.metric
        return tuple(Curve(trial, tuple(self._curve(trial, metric).items())) for trial in trials)

    def _curve(self, trial: TrialRead, metric: str) -> dict[int, float]:
        curve = self._curves.setdefault(trial.number, {})
        known = max(curve, default=0)
        if trial.last_step > known:
            for step in self._client.studies.metrics(self._study, trial.number, after_step=known, name=metric):
                value = step.metrics.get(metric)
                if value is not None:
                    curve[step.step] = value
        return curve


def _facts(snapshot: Snapshot) -> tuple[object, ...]:
    """All that moves but the clocks."""
    study = snapshot.study
    messages = tuple((condition.type, condition.status, condition.message) for condition in study.conditions)
    running = tuple((curve.trial.number, curve.steps) for curve in snapshot.running)
    workers = tuple((worker.name, worker.state, worker.trial) for worker in snapshot.workers)
    return study.state, study.counts, study.best, study.usage, messages, snapshot.rungs, running, workers


def _listen(client: Client, study: str, changed: threading.Event) -> None:
    try:
        for _ in client.studies.events(study):
            changed.set()
    except (ApiError, OSError):
        # Whatever ended the stream, looking every second goes on and meets the same trouble if it lasts.
        changed.set()
