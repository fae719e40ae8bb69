"""Configurations that wait to be trained before what the sampler proposes."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection

from hpo.domain.history import Params
from hpo.storage.batch import Batch


@dataclass(frozen=True, slots=True)
class Enqueued:
    """``final`` is what a confirmation's last trial learns from, None of all others."""

    position: int
    params: Params
    final: str | None = None


def add(batch: Batch, study: UUID, configurations: Iterable[Params], *, final: str | None = None) -> None:
    for params in configurations:
        batch.add(
            "INSERT INTO enqueued (study_id, params, final) VALUES (%(study)s, %(params)s, %(final)s)",
            study=study,
            params=json.dumps(dict(params), allow_nan=False),
            final=final,
        )


def oldest(tx: Connection, study: UUID, limit: int) -> Sequence[Enqueued]:
    """The next ``limit`` configurations, in the order in which they came."""
    query = "SELECT position, params, final FROM enqueued WHERE study_id = %(study)s ORDER BY position LIMIT %(limit)s"
    rows = tx.exec_driver_sql(query, {"study": study, "limit": limit})
    return [Enqueued(row.position, row.params, row.final) for row in rows]


def count(tx: Connection, study: UUID) -> int:
    query = "SELECT count(*) FROM enqueued WHERE study_id = %(study)s"
    return int(tx.exec_driver_sql(query, {"study": study}).scalar_one())


def remove(batch: Batch, study: UUID, positions: Sequence[int]) -> None:
    batch.add(
        "DELETE FROM enqueued WHERE study_id = %(study)s AND position = ANY(%(positions)s)",
        study=study,
        positions=list(positions),
    )
