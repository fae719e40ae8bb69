"""Reading back what was reported."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from hpo.storage.contests import same_data


def find_answer(tx: Connection, project: UUID, study: UUID, number: int, step: int, lease: UUID) -> Row[Any] | None:
    """The stored answer to a report whose reply may have been lost with the end of its lease."""
    return tx.exec_driver_sql(
        "SELECT r.decision, r.target FROM report r JOIN trial t ON t.id = r.trial_id WHERE t.study_id = %(study)s"
        " AND t.number = %(number)s AND t.project_id = %(project)s AND r.step = %(step)s AND r.lease_id = %(lease)s",
        {"study": study, "number": number, "project": project, "step": step, "lease": lease},
    ).one_or_none()


def exists(tx: Connection, project: UUID, study: UUID, number: int) -> bool:
    found = tx.exec_driver_sql(
        "SELECT 1 FROM trial WHERE study_id = %(study)s AND number = %(number)s AND project_id = %(project)s",
        {"study": study, "number": number, "project": project},
    )
    return found.scalar_one_or_none() is not None


def loss_at(tx: Connection, trial: int, step: int) -> float | None:
    """The accepted loss of a step; None if it was not accepted or is not finite."""
    found = tx.exec_driver_sql(
        "SELECT loss FROM report WHERE trial_id = %(trial)s AND step = %(step)s", {"trial": trial, "step": step}
    )
    loss: float | None = found.scalar_one_or_none()
    return loss


def metrics_at(tx: Connection, trial: int, step: int) -> Mapping[str, float]:
    """The accepted metrics of a step, words for non-finite ones read back as numbers; empty if there are none."""
    found = tx.exec_driver_sql(
        "SELECT metrics FROM report WHERE trial_id = %(trial)s AND step = %(step)s", {"trial": trial, "step": step}
    )
    metrics: Mapping[str, float | str] = found.scalar_one_or_none() or {}
    return {name: float(value) for name, value in metrics.items()}


_SPLIT = f"""
SELECT r.name, r.split_sha256 FROM study r JOIN study me ON me.id = %(study)s
WHERE r.contest_id = %(contest)s AND r.split_sha256 IS NOT NULL AND {same_data("r", "me")} LIMIT 1"""


def split_of_contest(tx: Connection, contest: UUID, study: UUID) -> Row[Any] | None:
    """A study of the contest, by name, with the split it trains on; None while none on the study's data has told.

    Locks the contest: of several studies that tell for the first time at once, one is first.
    """
    tx.exec_driver_sql("SELECT 1 FROM contest WHERE id = %(contest)s FOR NO KEY UPDATE", {"contest": contest})
    return tx.exec_driver_sql(_SPLIT, {"contest": contest, "study": study}).one_or_none()


_CONFUSION = """
SELECT step, confusion FROM report WHERE trial_id = %(trial)s AND confusion IS NOT NULL
AND (%(step)s::bigint IS NULL OR step = %(step)s) ORDER BY step DESC LIMIT 1"""


def find_confusion(tx: Connection, trial: int, *, step: int | None) -> Row[Any] | None:
    """The confusion matrix of a step, else the newest; None if there is none."""
    return tx.exec_driver_sql(_CONFUSION, {"trial": trial, "step": step}).one_or_none()


def losses(tx: Connection, trial: int) -> list[tuple[int, float]]:
    """The accepted (step, loss) pairs of a trial, rising in step; its curve."""
    found = tx.exec_driver_sql(
        "SELECT step, loss FROM report WHERE trial_id = %(trial)s AND loss IS NOT NULL ORDER BY step", {"trial": trial}
    )
    return [(row.step, row.loss) for row in found]
