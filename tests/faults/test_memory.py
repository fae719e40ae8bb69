"""Trials that run out of memory, on a worker whose two slots share one device."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from ladder.process import Process, wait_until
from tests.faults.fleet import WAIT_S, Fleet

QUEUE = "pair"
OOM_AT, NEVER = 4, 1000
EPOCH_S = 0.1
LONG_EPOCH_S = 0.4


@pytest.fixture
def pair(fleet: Fleet) -> Iterator[Process]:
    """One worker with two slots, on a queue of its own."""
    worker = fleet.stack.spawn_worker(name=QUEUE, env={"LADDER_QUEUE": QUEUE, "LADDER_SLOTS": "2"})
    yield worker
    fleet.stack.workers.remove(worker)
    worker.stop(timeout_s=WAIT_S)


def test_a_trial_that_ran_out_of_memory_is_tried_again_while_the_other_slot_trains_nothing(
    fleet: Fleet, pair: Process
) -> None:
    study = fleet.client.studies.create(
        {
            "name": "greedy",
            "objectives": [{"metric": "loss", "direction": "minimize"}],
            "search_space": [
                {"type": "int", "name": "oom_at", "low": 1, "high": NEVER},
                {"type": "float", "name": "epoch_s", "low": 0, "high": 10},
            ],
            "sampler": {"type": "manual"},
            "enqueue": [{"oom_at": OOM_AT, "epoch_s": EPOCH_S}, {"oom_at": NEVER, "epoch_s": LONG_EPOCH_S}],
            "scheduler": {"type": "fifo", "max_resource": 200},
            "budget": {"max_trials": 3},
            "checkpoints": {"every": 100},  # so that what is tried again has epochs to train before it fails again
            "trainer": {"name": "synthetic", "resources": {"queue": QUEUE}},
        }
    )
    # The long trial was queued first: whoever tries the greedy one again does so beside it.
    wait_until(lambda: len(fleet.attempts(study, 0)) == 2, "it is tried again", timeout_s=WAIT_S, alive=[pair])
    fleet.client.studies.enqueue(study.name, {"oom_at": NEVER, "epoch_s": 0.0})
    fleet.rows(
        "UPDATE trial SET stop_requested = 'stop' WHERE study_id = %(study)s AND number = 1 RETURNING 1", study=study.id
    )
    fleet.finish(study)
    first, alone = fleet.client.studies.attempts(study.name, 0)
    [long], [late] = (fleet.client.studies.attempts(study.name, number) for number in (1, 2))
    assert [(one.end_class, one.alone) for one in (first, alone, long, late)] == [
        ("oom", False),
        ("oom", True),
        ("pruned", False),
        ("complete", False),
    ]
    assert long.worker != alone.worker
    assert alone.setup_s is not None
    assert alone.ended_at is not None
    began_at = alone.started_at + timedelta(seconds=alone.setup_s)  # its first batch; until then it held its lease
    assert alone.ended_at - began_at > timedelta(seconds=(OOM_AT - 1) * EPOCH_S)
    assert long.ended_at is not None
    assert long.started_at < alone.started_at < long.ended_at < began_at
    assert late.started_at > alone.ended_at
    assert pair.alive
