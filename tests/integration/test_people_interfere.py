"""Whatever people do to the trials of a study and however often they extend it, its record can be derived again."""

import math
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Any
from uuid import UUID

import pytest

from hpo.domain.errors import InvalidSpec, InvalidState
from hpo.domain.report import Report, StepResult
from hpo.lifecycle import reports
from hpo.lifecycle import trials as single
from hpo.lifecycle.extend import extend
from hpo.lifecycle.leases import Claimed
from hpo.spec.study import StudySpec
from tests.audit import audit
from tests.integration.repository import Repository
from tests.property.studies import METHODS

CHOSEN = (
    "fifo",
    "asha",
    "asha that stops",
    "asha in brackets",
    "asha with n_full",
    "asha with pruners",
    "successive halving",
    "hyperband",
    "asha of two objectives",
)


@pytest.fixture
def repository(postgres_url: str) -> Iterator[Repository]:
    """Whatever a test does, the record is clean at its end."""
    repository = Repository.on(postgres_url)
    yield repository
    repository.db.engine.dispose()
    assert audit(postgres_url) == []


class Crowd:
    """Workers that train, fail and hand back, and people who stop and retry, all by chance."""

    def __init__(self, repository: Repository, study: UUID, rng: Random) -> None:
        self.repository, self.study, self.rng = repository, study, rng
        self.held: list[Claimed] = []

    def row(self) -> Any:
        return self.repository.one("SELECT * FROM study WHERE id = %(id)s", id=self.study)

    def work(self, steps: int) -> None:
        """Until the study has ended, at most so many steps."""
        for _ in range(steps):
            self.repository.advance(self.study)
            if self.row().state == "finished":
                return
            rng = self.rng
            roll = rng.random()
            if roll < 0.4 and len(self.held) < 4 and (claimed := self.repository.try_claim(self.study)) is not None:
                self.held.append(claimed)
            elif roll < 0.85 and self.held:
                self._train(self.held.pop(rng.randrange(len(self.held))))
            elif roll < 0.9 and self.held:
                self.repository.release(self.held.pop())
            elif roll < 0.95:
                self._interfere()
        raise AssertionError(f"the study has not ended after {steps} steps: {self.row()}")

    def _train(self, held: Claimed) -> None:
        trial = self.repository.trial(held)
        if self.rng.random() < 0.08:
            self.repository.fail(held, "user_error")
            return
        loss = round(self.rng.random(), 1) + 1 / trial.target_step
        metrics = {"loss": math.nan if self.rng.random() < 0.03 else loss, "size": round(self.rng.random(), 1)}
        body = Report(held.lease, (StepResult(trial.target_step, metrics),))
        answer = self.repository.db.write(
            lambda tx: reports.report(
                tx, self.repository.definitions, self.repository.project, self.study, held.number, body
            )
        ).value
        if answer.decision == "continue":
            self.held.append(held)

    def _interfere(self) -> None:
        act = self.rng.choice([single.stop, single.retry])
        number = self.rng.randrange(max(1, self.row().next_number))
        with suppress(InvalidState):  # a retry of one that has not failed
            self.repository.db.write(
                lambda tx: act(tx, self.repository.definitions, self.repository.project, self.study, number)
            )

    def extend(self, **raised: Any) -> None:
        self.repository.db.write(
            lambda tx: extend(tx, self.repository.project, self.study, budget=raised.pop("budget", {}), **raised)
        )


@pytest.mark.parametrize("method", CHOSEN)
def test_stopping_retrying_and_extending_leaves_a_record_that_follows_from_the_log(
    repository: Repository, method: str
) -> None:
    study = repository.create(**METHODS[method], budget={"max_trials": 16, "max_failed": 1000})
    crowd = Crowd(repository, study, Random(method))
    crowd.work(1500)
    for more in (24, 40):
        spec = StudySpec.model_validate(crowd.row().spec)
        n_full = getattr(spec.scheduler, "n_full", None)
        raised: dict[str, Any] = {} if n_full is None else {"n_full": n_full + 3}
        assert audit(repository.url) == []
        crowd.extend(budget={"max_trials": more}, **raised)
        assert audit(repository.url) == []
        crowd.work(3000)
    assert crowd.row().closed == repository.one("SELECT count(*) AS n FROM trial WHERE closed_from IS NOT NULL").n


def test_a_bound_that_ended_the_study_must_be_raised(repository: Repository) -> None:
    study = repository.create(scheduler={"type": "fifo", "max_resource": 2}, budget={"max_trials": 2})
    crowd = Crowd(repository, study, Random(1))
    crowd.work(500)
    with pytest.raises(InvalidSpec) as refused:
        crowd.extend(budget={"max_epochs": 100})
    assert [error.pointer for error in refused.value.errors] == ["/budget/max_trials"]
