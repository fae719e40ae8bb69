"""One study on a real Postgres, driven through the lifecycle's verbs as the API does, with no process in between."""

from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID, uuid4

from pydantic import SecretStr

from hpo.domain.report import Answer, Failure, Report, SavedCheckpoint, StepResult
from hpo.domain.trial import StopRequest
from hpo.lifecycle import advance, leases, reports, studies
from hpo.lifecycle.advance import Progress
from hpo.lifecycle.definitions import Definitions
from hpo.lifecycle.leases import Claimed
from hpo.settings import Settings
from hpo.spec.study import StudySpec
from hpo.storage.db import Db, make_engine
from hpo.storage.keys import ensure_project

T = TypeVar("T")
TTL_S = 60.0
SPEC = {
    "name": "study",
    "objectives": [{"metric": "loss", "direction": "minimize"}],
    "search_space": [{"type": "float", "name": "x", "low": 0.0, "high": 1.0}],
    "sampler": {"type": "random", "seed": 7},
    "scheduler": {"type": "asha", "max_resource": 9},
    "trainer": {"name": "external"},
    "budget": {"max_trials": 20},
}


@dataclass
class Repository:
    """A database with one project. Every verb is a transaction of its own, run again as the service would."""

    db: Db
    project: UUID
    definitions: Definitions
    url: str

    @classmethod
    def on(cls, url: str, *, pool_size: int = 10) -> "Repository":
        db = Db(make_engine(Settings(database_url=SecretStr(url)), pool_size=pool_size))
        return cls(db, db.write(ensure_project), Definitions(), url)

    def create(self, **changes: Any) -> UUID:
        """Store and start a study of ``SPEC`` with ``changes``, and sample as far ahead as control would."""
        spec = studies.normalise(StudySpec.model_validate({**SPEC, **changes}))
        study = self.db.write(lambda tx: studies.create(tx, self.project, spec, start=True)).value
        self.advance(study)
        return study

    def advance(self, study: UUID) -> None:
        """What control does when it is rung for."""
        while (todo := self.db.write(lambda tx: advance.look(tx, self.definitions, study, live_s=1.0))) is not None:
            if isinstance(todo, Progress):
                continue
            room = todo
            params = [{"x": number / 1000} for number in range(room.first, room.first + room.count)]
            self.db.write(lambda tx, room=room, params=params: advance.add_trials(tx, study, room, params, live_s=1.0))  # type: ignore[misc]

    def claim(self, study: UUID, *, claim_id: UUID | None = None, ttl_s: float = TTL_S, worker: str = "w") -> Claimed:
        """A trial of the study. Raises AssertionError if none can be claimed."""
        claimed = self.try_claim(study, claim_id=claim_id, ttl_s=ttl_s, worker=worker)
        assert claimed is not None, "nothing can be claimed"
        return claimed

    def try_claim(
        self, study: UUID, *, claim_id: UUID | None = None, ttl_s: float = TTL_S, worker: str = "w"
    ) -> Claimed | None:
        key = claim_id or uuid4()
        return self.db.write(
            lambda tx: (
                leases.claim(tx, self.definitions, self.project, key, worker=worker, study=study, ttl_s=ttl_s).value
            )
        )

    def renew(self, held: Claimed) -> StopRequest | None:
        renewed = self.db.write(lambda tx: leases.renew(tx, self.project, held.study, held.number, held.lease))
        return renewed.stop

    def report(self, held: Claimed, step: int, loss: float) -> Answer:
        body = Report(held.lease, (StepResult(step, {"loss": loss}),))
        return self.db.write(
            lambda tx: reports.report(tx, self.definitions, self.project, held.study, held.number, body)
        ).value

    def release(self, held: Claimed, *, step: int | None = None) -> None:
        """Hand the trial back, with a checkpoint of ``step`` if given."""
        saved = () if step is None else (SavedCheckpoint(step, "0" * 64, 1),)
        self.db.write(
            lambda tx: leases.release(
                tx, self.definitions, self.project, held.study, held.number, held.lease, checkpoints=saved
            )
        )

    def fail(self, held: Claimed, kind: str, *, step: StepResult | None = None, backoff_s: float = 0.0) -> None:
        failure = Failure(kind, retryable=kind in ("infra", "oom", "stalled"))
        self.db.write(
            lambda tx: leases.fail(
                tx,
                self.definitions,
                self.project,
                held.study,
                held.number,
                held.lease,
                failure,
                step=step,
                backoff_s=backoff_s,
            )
        )

    def reap(self, held: Claimed, *, backoff_s: float = 0.0) -> bool:
        """Take the lease back if it has run out; False if it has not."""
        outcome = self.db.write(
            lambda tx: leases.reap(
                tx, self.definitions, self.project, held.study, held.number, held.lease, backoff_s=backoff_s
            )
        )
        return outcome is not None

    def expire(self, held: Claimed) -> None:
        """Let the lease have run out a second ago."""
        self.execute(
            "UPDATE trial SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE lease_id = %(lease)s",
            lease=held.lease,
        )

    def command(self, study: UUID, verb: studies.Verb) -> None:
        self.db.write(lambda tx: studies.command(tx, self.project, study, verb))

    def execute(self, statement: str, **params: Any) -> None:
        self.db.write(lambda tx: tx.exec_driver_sql(statement, params))

    def one(self, query: str, **params: Any) -> Any:
        """The one row of a query."""
        return self.db.read(lambda tx: tx.exec_driver_sql(query, params).one())

    def trial(self, held: Claimed) -> Any:
        return self.one(
            "SELECT * FROM trial WHERE study_id = %(study)s AND number = %(number)s",
            study=held.study,
            number=held.number,
        )

    def end_classes(self, held: Claimed) -> list[str | None]:
        """How the trial's attempts ended, in order; None for the one that runs."""
        rows = self.db.read(
            lambda tx: tx.exec_driver_sql(
                "SELECT end_class FROM attempt WHERE trial_id = %(id)s ORDER BY attempt", {"id": self.trial(held).id}
            ).all()
        )
        return [row.end_class for row in rows]
