"""A confirmation from its start to its final trial: by an ordinary study, with leases, retries and a log of its own."""

from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from hpo.analysis.confirmation import Winner, confirmed, recommended, same
from hpo.domain.errors import NameTaken
from hpo.domain.events import EventType
from hpo.domain.trial import TrialState
from hpo.lifecycle import conclude, studies
from hpo.lifecycle.promotion import begin_stopping
from hpo.space.space import Space, fill_defaults
from hpo.spec.confirm import confirming_spec, names, same_split
from hpo.spec.study import StudySpec
from hpo.storage import enqueued
from hpo.storage import studies as stored
from hpo.storage.change import StudyChange

MOST_NAMES = 1_000  # tried for a study that confirms


@dataclass(frozen=True, slots=True)
class Begun:
    """``confirmation`` is what the study that is confirmed stores; ``study`` the one that confirms it, if one does."""

    confirmation: conclude.Json
    study: UUID | None


_SAME_SPLIT = """
UPDATE study SET split_sha256 = p.split_sha256, class_names = p.class_names
FROM study p WHERE p.id = %(parent)s AND study.id = %(child)s"""


def begin(tx: Connection, project: UUID, study: UUID, spec: StudySpec, *, trials: int) -> Begun:
    """Create the study that trains the winners of ``study`` anew; the caller holds its row and ends it.

    ``trials`` is how many it has created.
    """
    winners = _winners(tx, study, spec)
    if not winners:
        return Begun(conclude.failed(spec, "no trial of the search has a value"), None)
    for name in islice(names(spec.name), MOST_NAMES):
        confirming = confirming_spec(spec, name, [one.params for one in winners], trials=trials)
        try:
            made = studies.create(tx, project, confirming, start=True, confirms=study).value
        except NameTaken:
            continue
        if same_split(spec):
            tx.exec_driver_sql(_SAME_SPLIT, {"parent": study, "child": made})
        return Begun(conclude.begun(spec, winners, study=made, name=name), made)
    return Begun(conclude.failed(spec, f"studies named {spec.name}.confirm and like it are there already"), None)


def _winners(tx: Connection, study: UUID, spec: StudySpec) -> list[Winner]:
    """The best configurations in terms of the space as it is now, best first, equal ones once."""
    assert spec.confirm is not None
    space, found = Space.of(spec), list[Winner]()
    for row in stored.winners(tx, study):
        params = fill_defaults(space, row.params)
        if not any(same(params, one.params) for one in found):
            found.append(Winner(params, row.number, spec.objective.value(row.loss)))
            if len(found) == spec.confirm.top:
                break
    return found


_CONFIRMED = "SELECT spec, confirmation FROM study WHERE id = %(id)s"


def proceed(tx: Connection, row: Any) -> bool:
    """Move a running study that confirms on: once all replicates have ended it queues the final trial, then it stops.

    ``row`` is its locked row. False while something of it runs or waits.
    """
    if row.queued + row.running + row.paused or enqueued.count(tx, row.id):
        return False
    parent = tx.exec_driver_sql(_CONFIRMED, {"id": row.confirms}).one()
    spec = StudySpec.model_validate(parent.spec)
    rows = conclude.rows_of(tx, row.id, spec)
    final = next((one for one in rows if one.final is not None), None)
    if final is not None:
        complete = final.state == TrialState.COMPLETE
        begin_stopping(tx, row.id, row.last_seq, "max_trials" if complete else conclude.FINAL_FAILED)
        return True
    winners = conclude.winners_of(parent.confirmation)
    best = recommended(confirmed(winners, conclude.replicates_of(rows, spec)), spec.objective)
    if best is None:
        begin_stopping(tx, row.id, row.last_seq, conclude.NONE_TRUSTED)
        return True
    learns_from, params = parent.confirmation["train_on"], winners[best].params
    change = StudyChange(row.id, row.last_seq)
    enqueued.add(change.batch, row.id, [params], final=learns_from)
    change.event(EventType.STUDY_UPDATED, None, {"enqueued": dict(params), "repeat": 1, "final": learns_from})
    change.flush_study()
    change.run(tx)
    return True
