"""Reports that arrive together share a transaction and are answered as if they had come alone."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from hpo.domain.errors import InvalidSpec, LadderError, LeaseLost
from hpo.domain.report import Answer, Report, StepResult
from hpo.lifecycle.leases import Claimed
from hpo.lifecycle.reports import Item, report_all
from hpo.lifecycle.turns import Turns
from tests.audit import audit
from tests.integration.repository import Repository


def said(held: Claimed, loss: float, *, lease: UUID | None = None) -> Report:
    return Report(lease or held.lease, (StepResult(held.target_step, {"loss": loss}),))


def study_of(repository: Repository) -> UUID:
    return repository.create(budget={"max_trials": 400, "max_concurrent": 64})


def claim_all(repository: Repository, study: UUID, count: int) -> list[Claimed]:
    held = []
    for _ in range(count):
        repository.advance(study)
        held.append(repository.claim(study))
    return held


def test_a_refused_report_is_refused_alone_and_the_others_of_its_batch_are_stored(postgres_url: str) -> None:
    repository = Repository.on(postgres_url)
    study = study_of(repository)
    first, second, third = claim_all(repository, study, 3)
    items = [
        Item(first.number, said(first, 0.1)),
        Item(second.number, said(second, 0.2, lease=uuid4())),
        Item(second.number, Report(second.lease, (StepResult(99, {"loss": 0.2}),))),
        Item(third.number, said(third, 0.3)),
    ]
    results = repository.db.write(lambda tx: report_all(tx, repository.definitions, repository.project, study, items))
    assert isinstance(results[1], LeaseLost)
    assert isinstance(results[2], InvalidSpec)
    answers = [result.value for result in results if not isinstance(result, LadderError)]
    assert [answer.decision for answer in answers] == ["pause", "pause"]
    assert audit(postgres_url, study) == []


@pytest.mark.parametrize("threads", [1, 12])
def test_reports_from_many_threads_get_every_decision_right(postgres_url: str, threads: int) -> None:
    repository = Repository.on(postgres_url, pool_size=16)
    study = study_of(repository)
    turns = Turns(repository.db, repository.definitions)

    def train(index: int) -> list[str]:
        decisions = []
        for turn in range(6):
            while (held := repository.try_claim(study, worker=f"w{index}")) is None:
                repository.advance(study)
            loss, answer, step = (index * 7919 + turn * 104729) % 997 / 997, None, held.target_step
            while answer is None or answer.decision == "continue":
                body = Report(held.lease, (StepResult(step, {"loss": loss}),))
                answer = turns.report(repository.project, study, held.number, body).value
                decisions.append(answer.decision)
                step = answer.target_step or step
        return decisions

    with ThreadPoolExecutor(threads) as pool:
        decisions = [decision for part in pool.map(train, range(threads)) for decision in part]
    assert {"pause", "continue"} <= set(decisions) or threads == 1
    assert len(decisions) >= threads * 6
    assert audit(postgres_url, study) == []


def test_a_refusal_reaches_the_thread_that_caused_it(postgres_url: str) -> None:
    repository = Repository.on(postgres_url)
    study = study_of(repository)
    turns = Turns(repository.db, repository.definitions)
    held = claim_all(repository, study, 8)

    def report(index: int) -> Answer | LadderError:
        lease = uuid4() if index % 2 else None
        try:
            return turns.report(
                repository.project, study, held[index].number, said(held[index], 0.5, lease=lease)
            ).value
        except LadderError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(report, range(8)))
    assert [isinstance(result, LeaseLost) for result in results] == [bool(index % 2) for index in range(8)]
    assert audit(postgres_url, study) == []
