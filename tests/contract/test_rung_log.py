"""The rung log in Postgres answers as the one in memory does, whatever the order of arrivals and questions."""

import random

import pytest
from sqlalchemy import Connection

from hpo.schedulers.base import Action, RungEntry
from hpo.schedulers.composed import Entered
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
            vector = (float(draw.randrange(12)), float(draw.randrange(12)))
            entry = RungEntry(number, 0, RUNG, loss=vector[0], seq=number + 1, vector=vector)
            waits = draw.random() < 0.7
            rungs.add(batch, Entered(entry, Action.PAUSE if waits else Action.CONTINUE, resource=3))
            batch.run(tx)
            memory.add(entry, waiting=waits)
            best = rungs.best_waiting(0, RUNG)
            wanted = memory.best_waiting(0, RUNG)
            assert (None if best is None else best.key) == (None if wanted is None else wanted.key)
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
            if draw.random() < 0.2:
                assert rungs.entries(0, RUNG) == memory.entries(0, RUNG)
        for place in ((0, RUNG + 1), (5, 0)):  # where nobody has come to
            assert (rungs.count(*place), rungs.kth(*place, 1), rungs.best_waiting(*place)) == (0, None, None)
            assert (memory.count(*place), memory.kth(*place, 1), memory.best_waiting(*place)) == (0, None, None)
            assert list(rungs.entries(*place)) == memory.entries(*place) == []

    repository.db.write(walk)
