"""A whole stack to do harm to: what a test orders, whom it hits, and how it sees that everything came out right."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from random import Random
from typing import Any
from urllib.request import urlopen
from uuid import UUID

from sqlalchemy import NullPool, create_engine

from hpo.domain.study import STUDY_ENDED
from hpo.engine import Engine
from hpo.lifecycle.definitions import Definition
from hpo.spec.study import StudySpec
from ladder import Client
from ladder.process import Process, wait_until
from ladder.stack import LocalStack
from ladder.study import Study
from tests.audit import audit

LEASE_S = 3.0
TIMINGS = {
    "LADDER_LEASE_TTL_S": str(LEASE_S),
    "LADDER_HEARTBEAT_S": "0.4",
    "LADDER_SWEEP_S": "0.3",
    "LADDER_RETRY_BACKOFF_S": "0.1",
    "LADDER_RING_AGAIN_S": "1",
    "LADDER_DRAIN_S": "10",
}
WAIT_S = 90.0  # for whatever must happen at some time; generous, the machine may be busy

_numbers = count(1)


class Fleet:
    """Two API replicas, one control, two workers on real Postgres and Redis."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.clients = [Client(url, stack.token, retries=8) for url in stack.urls]

    @property
    def client(self) -> Client:
        return self.clients[0]

    def close(self) -> None:
        for client in self.clients:
            client.close()

    # -- before a test, and after one

    def heal(self) -> None:
        """Start again what a test has ended, and wait until all are there."""
        for process in [*self.stack.api, *self.stack.control, *self.stack.workers]:
            if not process.alive:
                self.stack.respawn(process)
        self.stack.wait_ready()
        self.stack.wait_workers()

    def cancel_all(self) -> None:
        for study in self.client.studies.list():
            if study.state not in STUDY_ENDED:
                self.client.studies.cancel(str(study.id))

    # -- what there is to do

    def create(
        self,
        *,
        trials: int,
        max_resource: int,
        epoch_s: float,
        asha: bool = False,
        every: int = 1,
        config: Mapping[str, Any] | None = None,
        confirm: Mapping[str, Any] | None = None,
    ) -> Study:
        """A study of synthetic trials whose curves depend on a walk that only a right resume continues."""
        scheduler = {"type": "asha" if asha else "fifo", "max_resource": max_resource}
        settings = {"epoch_s": epoch_s, "noise": 0.05, **(config or {})}
        return self.client.studies.create(
            {
                "name": f"study-{next(_numbers)}",
                "objectives": [{"metric": "loss", "direction": "minimize"}],
                "search_space": [{"type": "float", "name": name, "low": 0, "high": 1} for name in ("x", "y")],
                "sampler": {"type": "random"},
                "scheduler": scheduler,
                "trainer": {"name": "synthetic", "config": settings},
                "checkpoints": {"every": every},
                "confirm": confirm,
                "budget": {"max_trials": trials},
            }
        )

    def victim(self, study: Study, rng: Random, *, within_s: float) -> tuple[int, Process]:
        """A trial that has reported steps, and its worker, at a random moment of up to ``within_s`` seconds later."""
        found: list[Any] = []

        def running() -> bool:
            found[:] = [t for t in study.trials(state="running") if t.last_step > 0]
            return bool(found)

        wait_until(running, "a trial has reported steps", timeout_s=WAIT_S)
        chosen = rng.choice(found)
        linger(rng.uniform(0, within_s))
        [worker] = [process for process in self.stack.workers if process.name == f"worker-{chosen.worker}"]
        return chosen.number, worker

    # -- how it came out

    def finish(self, study: Study) -> None:
        """Wait until the study has finished, audited all the while, with every trial accounted for."""

        def finished() -> bool:
            assert self.violations(study) == []
            return study.state in STUDY_ENDED

        wait_until(finished, f"study {study.name} has ended", timeout_s=WAIT_S)
        info = study.refresh()
        assert info.state == "finished"
        ended = info.counts.complete + info.counts.pruned + info.counts.failed
        assert ended == info.budget.max_trials
        root = self.stack.checkpoint_root
        assert audit(self.stack.database_url, study.id, checkpoint_root=root) == []

    def violations(self, study: Study) -> list[str]:
        return audit(self.stack.database_url, study.id)

    def rows(self, query: str, **params: Any) -> list[Any]:
        engine = create_engine(self.stack.database_url, poolclass=NullPool)
        with engine.begin() as tx:
            return list(tx.exec_driver_sql(query, params).all())

    def trial(self, study: Study, number: int) -> Any:
        query = "SELECT * FROM trial WHERE study_id = %(study)s AND number = %(number)s"
        [row] = self.rows(query, study=study.id, number=number)
        return row

    def attempts(self, study: Study, number: int) -> list[Any]:
        return self.rows(
            "SELECT a.* FROM attempt a JOIN trial t ON t.id = a.trial_id"
            " WHERE t.study_id = %(study)s AND t.number = %(number)s ORDER BY a.attempt",
            study=study.id,
            number=number,
        )

    def infra_failures(self, study: Study) -> int:
        [row] = self.rows("SELECT sum(infra_failures)::int AS n FROM trial WHERE study_id = %(study)s", study=study.id)
        return int(row.n)

    def refusals(self) -> int:
        """Requests that the API answered with 409, in all replicas."""
        return sum(_refusals(url) for url in self.stack.urls)

    def reports(self, study: Study) -> int:
        """Steps that are accounted for so far."""
        return study.refresh().usage.epochs


def _refusals(url: str) -> int:
    with urlopen(f"{url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    counts = [line for line in lines if line.startswith("ladder_http_request_seconds_count") and 'status="409"' in line]
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in counts)


def linger(seconds: float) -> None:
    """Let a random moment pass."""
    threading.Event().wait(seconds)


def uninterrupted(study: Study, number: int) -> list[dict[str, float]]:
    """The metrics of each step as one training from start to end gives them."""
    from models.job import TrainJob
    from models.train import train

    info = study.refresh()
    spec = StudySpec.model_validate(info.model_dump(include=set(StudySpec.model_fields)))
    [trial] = [trial for trial in study.trials() if trial.number == number]
    job = TrainJob(
        trainer=spec.trainer.name,
        config={**spec.trainer.config, **trial.params, "epoch_s": 0.0},
        seed=Definition(spec, Engine(spec), revision=1).trial_seed(number),
        from_step=0,
        max_resource=spec.scheduler.max_resource,
        resume=None,
        data_root=None,  # type: ignore[arg-type]  # reads no data
    )
    return [dict(result.metrics) for result in train(job)]


def curve(study: Study, number: int) -> list[dict[str, float | None]]:
    return [step.metrics for step in study.metrics(number)]


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Repeat ``work`` on a thread until the block ends; its first error is raised there."""
    stop = threading.Event()
    errors: list[Exception] = []

    def loop() -> None:
        while not stop.is_set() and not errors:
            try:
                work()
            except Exception as error:
                errors.append(error)
            stop.wait(0.02)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if errors:
        raise errors[0]


class Writer:
    """Creates studies that nobody trains, on one replica after the other, and keeps what was acknowledged."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.acknowledged: dict[str, UUID] = {}

    def write(self) -> None:
        name = f"written-{next(_numbers)}"
        client = self._fleet.clients[len(self.acknowledged) % len(self._fleet.clients)]
        study = client.studies.create(
            {
                "name": name,
                "objectives": [{"metric": "loss", "direction": "minimize"}],
                "search_space": [{"type": "float", "name": "x", "low": 0, "high": 1}],
                "trainer": {"name": "external"},
                "budget": {"max_trials": 1},
            }
        )
        self.acknowledged[name] = study.info.id

    def check(self) -> None:
        """Every acknowledged study is there once, under the id that was told."""
        assert self.acknowledged, "nothing was written: the test shows nothing"
        rows = self._fleet.rows("SELECT name, id FROM study WHERE name LIKE 'written-%%'")
        stored = {row.name: row.id for row in rows}
        assert len(stored) == len(rows)
        assert self.acknowledged.items() <= stored.items()
