"""Workers that are killed, stopped, drained, and given trials that kill."""

import signal
from random import Random

import psutil
import pytest

from ladder.process import wait_until
from tests.faults.fleet import LEASE_S, WAIT_S, Fleet, curve, uninterrupted

EPOCH_S = 0.15


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("every", [1, 3])
def test_a_killed_workers_trial_goes_on_elsewhere_as_if_nothing_had_happened(
    fleet: Fleet, rng: Random, every: int
) -> None:
    study = fleet.create(trials=2, max_resource=14, epoch_s=EPOCH_S, every=every)
    number, worker = fleet.victim(study, rng, within_s=EPOCH_S)
    children = psutil.Process(worker.pid).children(recursive=True)
    [clock] = fleet.rows("SELECT clock_timestamp() AS now")
    worker.kill()
    assert children
    wait_until(lambda: not any(map(_lives, children)), "the killed worker's children are gone", timeout_s=2)
    fleet.finish(study)
    lost, *others = fleet.attempts(study, number)
    assert lost.end_class == "infra"
    assert (lost.ended_at - clock.now).total_seconds() <= LEASE_S + 5
    assert others[-1].end_class == "complete"
    assert others[-1].worker != worker.name.removeprefix("worker-")
    # That less than one interval was trained again is the audit's I8.
    for trial in (0, 1):
        assert curve(study, trial) == uninterrupted(study, trial)


def test_a_worker_that_wakes_after_its_lease_is_refused_and_writes_nothing(fleet: Fleet, rng: Random) -> None:
    study = fleet.create(trials=1, max_resource=14, epoch_s=EPOCH_S)
    number, worker = fleet.victim(study, rng, within_s=EPOCH_S)
    worker.send_group(signal.SIGSTOP)
    try:
        fleet.finish(study)
        refused = fleet.refusals()
    finally:
        worker.send_group(signal.SIGCONT)
    wait_until(lambda: fleet.refusals() > refused, "the sleeper is refused", timeout_s=WAIT_S, alive=[worker])
    first, second = fleet.attempts(study, number)
    assert (first.end_class, second.end_class) == ("infra", "complete")
    assert first.worker != second.worker
    for table, instant in (("report", "at"), ("checkpoint", "created_at")):
        late = f"SELECT 1 FROM {table} WHERE lease_id = %(lease)s AND {instant} > %(claimed)s"
        assert fleet.rows(late, lease=first.lease_id, claimed=second.started_at) == []
    assert fleet.violations(study) == []
    assert curve(study, number) == uninterrupted(study, number)


@pytest.mark.parametrize("signals", [1, 3])
def test_a_worker_that_is_told_to_stop_hands_its_trial_back_with_a_checkpoint(
    fleet: Fleet, rng: Random, signals: int
) -> None:
    study = fleet.create(trials=1, max_resource=14, epoch_s=EPOCH_S, every=5)
    number, worker = fleet.victim(study, rng, within_s=EPOCH_S)
    for _ in range(signals):
        worker.send(signal.SIGTERM)
    assert worker.wait(WAIT_S) == 0
    fleet.finish(study)
    row = fleet.trial(study, number)
    assert (row.infra_failures, row.oom_failures, row.no_progress_attempts) == (0, 0, 0)
    drained, resumed = fleet.attempts(study, number)
    assert (drained.end_class, resumed.end_class) == ("drain", "complete")
    saved = "SELECT max(step) AS step FROM checkpoint WHERE lease_id = %(lease)s"
    [newest] = fleet.rows(saved, lease=drained.lease_id)
    assert newest.step == drained.end_step == resumed.start_step
    assert curve(study, number) == uninterrupted(study, number)


def test_trials_that_fail_are_classified_and_the_workers_stay_well(fleet: Fleet) -> None:
    expected = {
        "diverge_at": ("pruned", ["diverged"]),
        "raise_at": ("failed", ["user_error"]),
        "oom_at": ("failed", ["oom", "oom"]),
        "kill_at": ("failed", ["infra", "infra", "poison"]),
    }
    studies = {fault: fleet.create(trials=1, max_resource=3, epoch_s=0.0, config={fault: 2}) for fault in expected}
    healthy = fleet.create(trials=4, max_resource=3, epoch_s=0.0)
    for study in (*studies.values(), healthy):
        fleet.finish(study)
    found = {
        fault: (fleet.trial(study, 0).state, [attempt.end_class for attempt in fleet.attempts(study, 0)])
        for fault, study in studies.items()
    }
    assert found == expected
    assert healthy.refresh().counts.complete == 4
    assert all(worker.alive for worker in fleet.stack.workers)
