"""The rung log in Postgres answers as the one in memory does, whatever the order of arrivals and questions."""

import random

import pytest
from sqlalchemy import Connection

from hpo.schedulers.base import RungEntry
from hpo.schedulers.rung_log import MemoryRungLog
from hpo.storage.batch import Batch
from hpo.storage.rungs import SqlRungLog
from tests.integration.repository import Repository

STEPS = 120
RUNG = 1


@pytest.mark.parametrize("seed", range(8))
def test_counts_ranks_and_the_best_waiting_equal_those_in_memory(postgres_url: str, seed: int) -> None:
    draw = random.Random(seed)
    repository = Repository.on(postgres_url)
    study = repository.create()
    memory = MemoryRungLog()

    def walk(tx: Connection) -> None:
        rungs = SqlRungLog(tx, study)
        for number in range(STEPS):
            batch = Batch()
            # Few distinct values, so that there are ties.
            entry = RungEntry(trial=number, bracket=0, rung=RUNG, loss=float(draw.randrange(12)), seq=number + 1)
            waits = draw.random() < 0.7
            rungs.add(batch, entry, "pause" if waits else "continue", waiting=waits)
            batch.run(tx)
            memory.add(entry, waiting=waits)
            best = rungs.best_waiting(0, RUNG)
            assert best == memory.best_waiting(0, RUNG)
            if best is not None and draw.random() < 0.4:
                rungs.promote(batch, (0, RUNG), best.trial)
                batch.run(tx)
                memory.leave(0, RUNG, best.trial)
            for k in draw.sample(range(1, number + 3), k=min(2, number + 1)):
                assert rungs.kth(0, RUNG, k) == memory.kth(0, RUNG, k)
            if draw.random() < 0.3:
                rungs.flush(batch)
                batch.run(tx)
                rungs = SqlRungLog(tx, study)
            assert rungs.count(0, RUNG) == memory.count(0, RUNG)

    repository.db.write(walk)
