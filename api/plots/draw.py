"""From the name of a plot to its bytes: read in one short transaction, draw with none open, never over 2 MB."""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal
from uuid import UUID

# Brings scikit-learn, and with it pandas where that is installed. It must be there whole before anything is drawn:
# plotly looks into sys.modules for it, where another thread that asks for an importance may have it half imported.
import optuna.importance  # noqa: F401
from sqlalchemy import Connection

from api.plots import curves, params, progress, timeline
from api.plots.figure import Drawn, encoded
from api.plots.importances import draw_importance
from api.plots.seen import Ask, Seen
from hpo.analysis.observations import level_to_compare
from hpo.lifecycle.analyses import Answered, Question
from hpo.spec.study import StudySpec
from hpo.storage import figures
from hpo.storage.db import Db
from hpo.storage.figures import Sample

MOST_BYTES = 2_000_000
HALVINGS = 8  # of the samples, of which each takes half of what a figure holds

Plot = Literal[
    "history",
    "curves",
    "parallel",
    "slice",
    "contour",
    "rank",
    "timeline",
    "edf",
    "pareto",
    "hypervolume",
    "importance",
]
# Those of trials at one rung: how they are drawn, and from how many.
_AT_LEVEL: Mapping[str, tuple[Callable[[Seen, Ask], Drawn], Sample]] = {
    "slice": (params.draw_slice, params.SLICE),
    "parallel": (params.draw_parallel, params.PARALLEL),
    "rank": (params.draw_rank, params.RANK),
    "contour": (params.draw_contour, params.CONTOUR),
    "edf": (params.draw_edf, params.EDF),
}
# Figures are made with Python holding its lock for up to a second: a few at a time, so that workers are answered.
_turns = threading.BoundedSemaphore(2)


def draw(db: Db, study: UUID, spec: StudySpec, plot: Plot, ask: Ask) -> bytes:
    """The figure's body. Raises NotFound if the study is gone."""
    for halvings in range(HALVINGS):
        make = db.read(partial(_read, study=study, spec=spec, plot=plot, ask=ask, halvings=halvings))
        with _turns:
            drawn, revision = make()
            body = encoded(drawn, revision)
        if len(body) <= MOST_BYTES:
            return body
    reason = "even few trials of this study make a figure of more than 2 MB: ask for fewer params"
    return encoded(Drawn(reason=reason, n_trials=drawn.n_trials), revision)


def _read(
    tx: Connection, *, study: UUID, spec: StudySpec, plot: Plot, ask: Ask, halvings: int
) -> Callable[[], tuple[Drawn, int]]:
    """Read what a plot needs; returns what draws it."""
    head = figures.head(tx, study)  # first: what is read after it is newer than it is said to be
    revision: int = head.last_seq
    if plot in _AT_LEVEL:
        draws, whole = _AT_LEVEL[plot]
        sample = whole.halved(halvings)
        level = level_to_compare(figures.rungs(tx, study))
        found = [] if level is None else figures.at_level(tx, study, level, spec.objectives, sample)
        at_level = Seen(spec, head, level, found, sample)
        return lambda: (draws(at_level, ask), revision)
    if plot == "history":
        sample = progress.HISTORY.halved(halvings)
        found = progress.read_history(tx, Seen(spec, head), ask, sample)
        return lambda: (progress.draw_history(Seen(spec, head, None, found, sample), ask), revision)
    if plot == "pareto" and len(spec.objectives) in (2, 3):
        sample = progress.FRONT.halved(halvings)
        found, members = progress.read_front(tx, Seen(spec, head), sample)
        return lambda: (progress.draw_pareto(Seen(spec, head, None, found, sample), members), revision)
    if plot == "pareto":
        return lambda: (progress.draw_pareto(Seen(spec, head), set()), revision)
    if plot == "hypervolume":
        fronts = progress.read_fronts(tx, Seen(spec, head)) if len(spec.objectives) > 1 else None
        return lambda: (progress.draw_hypervolume(Seen(spec, head), fronts), revision)
    if plot == "timeline":
        attempts = figures.newest_attempts(tx, study, last_seq=revision, limit=timeline.MOST >> halvings)
        return lambda: (timeline.draw_timeline(Seen(spec, head), attempts), revision)
    assert plot == "curves", plot
    lines = curves.read_curves(tx, Seen(spec, head), ask, halvings)
    return lambda: (curves.draw_curves(Seen(spec, head), ask, lines), revision)


def importance(db: Db, study: UUID, spec: StudySpec, question: Question, answered: Answered) -> bytes:
    head = db.read(lambda tx: figures.head(tx, study))
    return encoded(draw_importance(Seen(spec, head), question, answered), head.last_seq)


def compare_trials(
    db: Db,
    trials: list[tuple[UUID, StudySpec, int]],
    names: list[str],
    metric: str | None,
) -> bytes:
    """The curves of some trials over each other; ``names`` are theirs."""

    def read(tx: Connection) -> list[tuple[Seen, curves.Curves]]:
        found = []
        for study, spec, number in trials:
            seen = Seen(spec, figures.head(tx, study))
            found.append((seen, curves.read_curves(tx, seen, Ask(trials=(number,), metric=metric), 0)))
        return found

    found = db.read(read)
    return encoded(curves.draw_trials(found, names, metric), sum(seen.head.last_seq for seen, _ in found))


def compare_studies(db: Db, studies: list[tuple[UUID, StudySpec]], along: curves.Along) -> bytes:
    """The best so far of some studies against what it took."""
    rivals = []
    for study, spec in studies:  # a transaction each: none is open for long
        seen = Seen(spec, db.read(partial(figures.head, study=study)))
        rows = db.read(partial(figures.progress, study=seen.head, points=curves.STRETCHES))
        rivals.append(curves.Rival(seen, rows))
    return encoded(curves.draw_studies(rivals, along), sum(rival.seen.head.last_seq for rival in rivals))
