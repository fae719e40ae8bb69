"""Redis and Postgres that lose their memory, restart and crash under a running study; doorbells that ring too often."""

from random import Random
from typing import Any

import pytest
from celery import Celery

from hpo.doorbell import BROKER_OPTIONS
from ladder.process import wait_until
from ladder.stack_postgres import StopMode
from ladder.study import Study
from tests.faults.fleet import WAIT_S, Fleet, Writer, linger, meanwhile

QUIET_ENDS = {"paused", "complete", "pruned"}


def running_study(fleet: Fleet, rng: Random) -> Study:
    """A study of promotions that is under way."""
    study = fleet.create(trials=14, max_resource=9, epoch_s=0.05, asha=True)
    some = rng.randint(2, 10)
    wait_until(lambda: fleet.reports(study) >= some, f"{some} steps are accounted for", timeout_s=WAIT_S)
    return study


def assert_undisturbed(fleet: Fleet, study: Study) -> None:
    """Every claim was trained once and came to its end: no lease was lost, nothing was started twice."""
    assert fleet.infra_failures(study) == 0
    query = "SELECT DISTINCT end_class FROM attempt a JOIN trial t ON t.id = a.trial_id WHERE t.study_id = %(study)s"
    assert {row.end_class for row in fleet.rows(query, study=study.id)} <= QUIET_ENDS


def test_a_study_survives_the_loss_of_all_doorbells(fleet: Fleet, rng: Random) -> None:
    study = running_study(fleet, rng)
    fleet.stack.redis.flushall()
    before = fleet.reports(study)
    wait_until(lambda: fleet.reports(study) > before, "training goes on", timeout_s=WAIT_S)
    linger(rng.uniform(0, 0.3))
    fleet.stack.redis.restart_empty()
    fleet.finish(study)
    assert_undisturbed(fleet, study)


def test_idle_workers_hear_of_a_study_that_comes_after_redis_was_lost(fleet: Fleet) -> None:
    fleet.stack.redis.restart_empty()
    study = fleet.create(trials=2, max_resource=2, epoch_s=0.0)
    fleet.finish(study)
    assert_undisturbed(fleet, study)


def test_doorbells_that_ring_five_times_start_nothing_twice(fleet: Fleet, rng: Random) -> None:
    app = Celery("bell-ringer", broker=fleet.stack.redis_url, set_as_current=False)
    app.conf.update(task_serializer="json", task_ignore_result=True, broker_transport_options=BROKER_OPTIONS)
    study = fleet.create(trials=10, max_resource=9, epoch_s=0.02, asha=True)

    def ring() -> None:
        bells: list[tuple[str, list[Any], str]] = [
            ("worker.run_next", [fleet.stack.queue], fleet.stack.queue),
            ("control.advance", [study.id], "control"),
        ]
        rng.shuffle(bells)
        for name, arguments, queue in bells:
            for _ in range(5):
                app.send_task(name, args=arguments, queue=queue, ignore_result=True)

    with meanwhile(ring):
        fleet.finish(study)
    app.close()
    assert_undisturbed(fleet, study)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_of_postgres_loses_no_answer_and_no_lease(fleet: Fleet, rng: Random, mode: StopMode) -> None:
    study, writer = running_study(fleet, rng), Writer(fleet)
    with meanwhile(writer.write):
        wait_until(lambda: len(writer.acknowledged) >= 3, "writes are acknowledged", timeout_s=WAIT_S)
        linger(rng.uniform(0, 0.3))
        fleet.stack.postgres.restart(mode)
        written = len(writer.acknowledged)
        wait_until(lambda: len(writer.acknowledged) > written, "writes go on", timeout_s=WAIT_S)
        fleet.finish(study)
    assert_undisturbed(fleet, study)
    writer.check()
