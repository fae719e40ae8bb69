"""Trials that run out of memory, on a worker whose two slots share one device."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from api.schemas.trials import AttemptRead
from ladder.process import Process
from tests.faults.fleet import WAIT_S, Fleet

QUEUE = "pair"
OOM_AT = 4
EPOCH_S = 0.1
HEALTHY = 6
GREEDY = (1, 4)  # numbers of the trials that run out of memory


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
    steps = [OOM_AT if number in GREEDY else 1000 for number in range(HEALTHY + len(GREEDY))]
    study = fleet.client.studies.create(
        {
            "name": "greedy",
            "objectives": [{"metric": "loss", "direction": "minimize"}],
            "search_space": [{"type": "int", "name": "oom_at", "low": 1, "high": 1000}],
            "sampler": {"type": "manual"},
            "repeats": HEALTHY,
            "enqueue": [{"oom_at": step} for step in steps],
            "scheduler": {"type": "fifo", "max_resource": 6},
            "checkpoints": {"every": 100},  # so that what is tried again has epochs to train before it fails again
            "trainer": {"name": "synthetic", "config": {"epoch_s": EPOCH_S}, "resources": {"queue": QUEUE}},
        }
    )
    fleet.finish(study)
    counts = study.refresh().counts
    assert (counts.complete, counts.failed) == (HEALTHY, len(GREEDY))

    attempts = {number: fleet.client.studies.attempts(study.name, number) for number in range(len(steps))}
    assert {attempt.worker for mine in attempts.values() for attempt in mine} == {f"{QUEUE}-0", f"{QUEUE}-1"}
    assert {number: [one.alone for one in mine] for number, mine in attempts.items() if len(mine) > 1} == {
        number: [False, True] for number in GREEDY
    }
    alone = [attempts[number][1] for number in GREEDY]
    assert [one.end_class for one in alone] == ["oom", "oom"]
    spans = [_trained(one) for one in alone]
    assert all(end - begin > (OOM_AT - 1) * timedelta(seconds=EPOCH_S) for begin, end in spans)
    assert sorted(spans)[0][1] < sorted(spans)[1][0]
    others = [(one.started_at, one.ended_at) for mine in attempts.values() for one in mine if not one.alone]
    for begin, end in spans:
        assert all((ended_at is not None and ended_at < begin) or started_at > end for started_at, ended_at in others)
    waited = [
        one.attempt
        for one, (begin, _) in zip(alone, spans, strict=True)
        for started_at, ended_at in others
        if ended_at is not None and one.started_at < ended_at < begin
    ]
    assert waited, "the device was free whenever a trial was tried again: the test shows nothing"
    assert pair.alive


def _trained(attempt: AttemptRead) -> tuple[datetime, datetime]:
    """From its first batch to its end; before that it only held its lease."""
    assert attempt.setup_s is not None
    assert attempt.ended_at is not None
    return attempt.started_at + timedelta(seconds=attempt.setup_s), attempt.ended_at
