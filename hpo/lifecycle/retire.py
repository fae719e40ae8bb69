"""Putting a study away: archived it is left out of lists, deleted it is gone at once and removed bit by bit."""

from uuid import UUID

from sqlalchemy import Connection

from hpo.domain.errors import InvalidState
from hpo.domain.events import EventType
from hpo.domain.study import STUDY_ENDED, StudyState
from hpo.lifecycle import studies
from hpo.lifecycle.outcome import Outcome
from hpo.storage.change import StudyChange


def archive(tx: Connection, project: UUID, study: UUID, *, archived: bool) -> Outcome[None]:
    """Leave an ended study out of lists, or bring it back; repeating it changes nothing.

    Raises InvalidState if it has not ended, NotFound.
    """
    row = studies.lock(tx, project, study, changes=False)
    if archived is (row.archived_at is not None):
        return Outcome(None)
    if row.state not in STUDY_ENDED:
        raise InvalidState(f"a study that is {row.state} cannot be archived: stop or cancel it first")
    change = StudyChange(study, row.last_seq)
    change.event(EventType.STUDY_UPDATED, None, {"archived": archived})
    when = "clock_timestamp()" if archived else "NULL"
    change.batch.add(f"UPDATE study SET archived_at = {when} WHERE id = %(study)s", study=study)
    change.bump()
    change.run(tx)
    return Outcome(None)


_CONFIRMING = """
SELECT id FROM study WHERE confirms = %(study)s AND project_id = %(project)s AND deleted_at IS NULL ORDER BY id"""
GONE = "~"  # what the names of deleted studies begin with, and no other: theirs are free at once


def delete(tx: Connection, project: UUID, study: UUID, *, force: bool, revision: int | None) -> Outcome[None]:
    """Make a study vanish with those that confirm it; control removes what they hold (``lifecycle.purge``).

    Raises InvalidState if one of them has not ended, unless ``force`` cancels it; StaleRevision, NotFound.
    """
    confirming = tx.exec_driver_sql(_CONFIRMING, {"study": study, "project": project}).scalars().all()
    # The study that confirms is locked first, as lifecycle.conclude does.
    rows = [studies.lock(tx, project, one, changes=False) for one in (*confirming, study)]
    studies.check_revision(rows[-1], revision)
    for row in rows:
        if row.state in STUDY_ENDED:
            continue
        if not force and row.state != StudyState.CREATED:
            raise InvalidState(f"study {row.name} is {row.state}: cancel it first, or delete it with force=true")
        studies.command(tx, project, row.id, "cancel")
    for row in rows:
        change = StudyChange(row.id, studies.lock(tx, project, row.id, changes=False).last_seq)
        change.event(EventType.STUDY_UPDATED, None, {"deleted": True})
        change.batch.add(
            "UPDATE study SET deleted_at = clock_timestamp(), name = %(gone)s WHERE id = %(study)s",
            gone=f"{GONE}{row.id}",
            study=row.id,
        )
        change.bump()
        change.run(tx)
    return Outcome(None)
