"""Trials that run out of memory, on a worker whose two slots share one device."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from ladder.process import Process
from tests.faults.fleet import WAIT_S, Fleet

QUEUE = "pair"
OOM_AT, NEVER = 4, 1000
EPOCH_S = 0.1
LONG_EPOCH_S = 1.5


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
    greedy, long, *short = [(OOM_AT, EPOCH_S), (NEVER, LONG_EPOCH_S), *[(NEVER, EPOCH_S)] * 4]
    study = fleet.client.studies.create(
        {
            "name": "greedy",
            "objectives": [{"metric": "loss", "direction": "minimize"}],
            "search_space": [
                {"type": "int", "name": "oom_at", "low": 1, "high": NEVER},
                {"type": "float", "name": "epoch_s", "low": 0, "high": 10},
            ],
            "sampler": {"type": "manual"},
            "repeats": len(short),
            "enqueue": [{"oom_at": step, "epoch_s": epoch_s} for step, epoch_s in (greedy, long, *short)],
            "scheduler": {"type": "fifo", "max_resource": 6},
            "checkpoints": {"every": 100},  # so that what is tried again has epochs to train before it fails again
            "trainer": {"name": "synthetic", "resources": {"queue": QUEUE}},
        }
    )
    fleet.finish(study)
    counts = study.refresh().counts
    assert (counts.complete, counts.failed) == (1 + len(short), 1)
    first, alone = fleet.client.studies.attempts(study.name, 0)
    others = [one for number in range(1, 2 + len(short)) for one in fleet.client.studies.attempts(study.name, number)]
    assert {one.worker for one in (first, alone, *others)} == {f"{QUEUE}-0", f"{QUEUE}-1"}
    assert [(one.end_class, one.alone) for one in (first, alone)] == [("oom", False), ("oom", True)]
    assert not any(one.alone for one in others)

    assert alone.setup_s is not None
    assert alone.ended_at is not None
    began_at = alone.started_at + timedelta(seconds=alone.setup_s)  # its first batch; until then it held its lease
    assert alone.ended_at - began_at > timedelta(seconds=(OOM_AT - 1) * EPOCH_S)
    ends = [one.ended_at for one in others if one.started_at < alone.ended_at]
    assert all(end is not None and end < began_at for end in ends)
    assert any(end is not None and end > alone.started_at for end in ends), "nothing trained that it could wait for"
    assert pair.alive
