"""A worker that is drained through the API hands its trial back, and the trial goes on elsewhere."""

from random import Random

from ladder.process import wait_until
from tests.faults.fleet import WAIT_S, Fleet, curve, uninterrupted

EPOCH_S = 0.15


def test_a_drained_worker_hands_its_trial_back_and_exits_and_another_goes_on(fleet: Fleet, rng: Random) -> None:
    study = fleet.create(trials=1, max_resource=30, epoch_s=EPOCH_S, every=5)
    number, worker = fleet.victim(study, rng, within_s=EPOCH_S)
    name = worker.name.removeprefix("worker-")
    assert fleet.client.workers.drain(name).state == "draining"
    assert worker.wait(WAIT_S) == 0
    fleet.finish(study)
    drained, resumed = fleet.attempts(study, number)
    assert (drained.end_class, resumed.end_class) == ("drain", "complete")
    assert resumed.worker != drained.worker == name
    assert drained.end_step == resumed.start_step > 0
    row = fleet.trial(study, number)
    assert (row.infra_failures, row.no_progress_attempts) == (0, 0)
    assert curve(study, number) == uninterrupted(study, number)

    # It is started anew under its name, and stays.
    fleet.stack.workers.remove(worker)
    fleet.stack.spawn_worker(name=name)

    def back() -> bool:
        told = fleet.client.workers.get(name)
        return told.state == "idle" and not told.drain and told.stats.done == 0

    wait_until(back, "the worker is back and idle", timeout_s=WAIT_S)


def test_a_trial_that_is_stopped_ends_with_what_it_has(fleet: Fleet, rng: Random) -> None:
    study = fleet.create(trials=1, max_resource=200, epoch_s=EPOCH_S)
    number, _ = fleet.victim(study, rng, within_s=EPOCH_S)
    fleet.client.studies.stop_trial(study.id, number)
    fleet.finish(study)
    row = fleet.trial(study, number)
    assert (row.state, 0 < row.last_step < 200) == ("pruned", True)
