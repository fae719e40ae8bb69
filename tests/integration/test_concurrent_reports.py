"""Many rung reports of one study at once: every decision is what the log before it demands (RELIABILITY.md 3.8)."""

import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import psycopg2
import pytest

from api.schemas.leases import AskIn, Assignment, ReportIn, ReportOut
from hpo.domain.study import STUDY_ENDED
from hpo.storage import leases as stored
from ladder import Client
from ladder.stack import LocalStack
from tests.audit import audit
from tests.integration.repository import SPEC, Repository

THREADS = 8
TRIALS = 360  # with eta = 3, at least 360 + 120 + 40 reports at rungs
STUDIES = 8
WAIT_S = 120.0  # in all, on a busy machine


def loss_of(number: int, step: int) -> float:
    """Curves that cross, the same in every run; rounded, so that ties occur."""
    digest = hashlib.sha256(f"{number}/{step}".encode()).digest()
    return round(int.from_bytes(digest[:4], "big") / 2**32, 2)


def report_everything(repository: Repository, study: UUID) -> list[psycopg2.Error]:
    """Claim and report from many threads until nothing is left; returns what the database refused."""
    refused: list[psycopg2.Error] = []
    start = threading.Barrier(THREADS)

    def work(_: int) -> None:
        start.wait()
        while not refused:
            try:
                held = repository.try_claim(study)
                if held is None:
                    repository.advance(study)
                    held = repository.try_claim(study)
                if held is None:
                    return
                target: int | None = held.target_step
                while target is not None:
                    answer = repository.report(held, target, loss_of(held.number, target))
                    target = answer.target_step if answer.decision == "continue" else None
            except psycopg2.Error as error:
                refused.append(error)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    return refused


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the time between a report's lock and its decision long enough for the others to come in, if they can."""
    lock, forever = stored.lock, threading.Event()

    def lock_and_linger(*args: Any) -> Any:
        row = lock(*args)
        forever.wait(0.01)
        return row

    monkeypatch.setattr(stored, "lock", lock_and_linger)


@pytest.mark.usefixtures("window")
def test_threads_that_report_at_once_get_the_decisions_of_the_log(postgres_url: str) -> None:
    repository = Repository.on(postgres_url, pool_size=THREADS)
    study = repository.create(budget={"max_trials": 100})
    assert report_everything(repository, study) == []
    repository.advance(study)
    assert repository.one("SELECT state FROM study").state == "finished"
    assert repository.one("SELECT count(*) AS n FROM rung_entry").n >= 100 + 33
    repository.db.engine.dispose()
    assert audit(postgres_url) == []


@pytest.mark.usefixtures("window")
def test_without_the_lock_of_the_study_the_same_reports_go_wrong(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlocked = stored._LOCK.replace("FOR NO KEY UPDATE OF t, s", "FOR NO KEY UPDATE OF t")
    assert unlocked != stored._LOCK
    monkeypatch.setattr(stored, "_LOCK", unlocked)
    # Now and then the UNIQUE constraints and the retry of refused transactions put a whole study right without the
    # lock: they are the second line. Several studies in a row they do not.
    assert any(_goes_wrong(postgres_url, f"study-{number}") for number in range(STUDIES))


def _goes_wrong(url: str, name: str) -> bool:
    repository = Repository.on(url, pool_size=THREADS)
    refused = report_everything(repository, repository.create(name=name, budget={"max_trials": 100}))
    repository.db.engine.dispose()
    return bool(refused or audit(url))


class Trainer:
    """An external trainer on one thread that asks one replica and reports to it and to the other in turn."""

    def __init__(self, clients: list[Client], name: str, ended: Callable[[], bool]) -> None:
        self.rung_reports = 0
        self._clients, self._name, self._ended = clients, name, ended

    def run(self) -> None:
        while not self._ended():
            for trial in self._clients[0].leases.ask("study", AskIn(worker=self._name, count=10)).trials:
                self._train(trial)

    def _train(self, trial: Assignment) -> None:
        target: int | None = trial.target_step
        while target is not None:
            body = ReportIn.model_validate(
                {"lease": trial.lease.token, "step": target, "metrics": {"loss": loss_of(trial.number, target)}}
            )
            said = self._report(trial, body, self.rung_reports % 2)
            self.rung_reports += 1
            if self.rung_reports % 5 == 0:  # its reply was lost: the other replica must give the same one
                again = self._report(trial, body, self.rung_reports % 2)
                assert (again.decision, again.target_step) == (said.decision, said.target_step)
            target = said.target_step if said.decision == "continue" else None

    def _report(self, trial: Assignment, body: ReportIn, replica: int) -> ReportOut:
        return self._clients[replica].leases.report(str(trial.study_id), trial.number, body)


def test_two_api_replicas_and_two_controls_decide_as_one(stack: Callable[..., LocalStack]) -> None:
    # They train ten trials one after another and send no heartbeats in between.
    local = stack(api_replicas=2, control_replicas=2, workers=0, settings_env={"LADDER_LEASE_TTL_S": "60"})
    with ExitStack() as resources:

        def clients(first: int) -> list[Client]:
            urls = [local.urls[first], local.urls[1 - first]]
            return [resources.enter_context(Client(url, local.token)) for url in urls]

        reader = clients(0)[0]
        spec: dict[str, Any] = {**SPEC, "budget": {"max_trials": TRIALS}}
        study = reader.studies.create(spec)
        deadline = time.monotonic() + WAIT_S

        def ended() -> bool:
            now = reader.studies.read(study.id)
            assert time.monotonic() < deadline, f"the study is still {now.state}: {now.counts}"
            return now.state in STUDY_ENDED

        trainers = [Trainer(clients(number % 2), f"external-{number}", ended) for number in range(THREADS)]
        with ThreadPoolExecutor(THREADS) as pool:
            for finished in [pool.submit(trainer.run) for trainer in trainers]:
                finished.result()
        assert sum(trainer.rung_reports for trainer in trainers) >= 500
        counts = reader.studies.read(study.id).counts
        assert counts.complete + counts.pruned == TRIALS
    assert audit(local.database_url) == []
