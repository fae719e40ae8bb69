"""API replicas and control processes that are killed under a running study and under writes."""

from random import Random

from ladder.process import wait_until
from tests.faults.fleet import WAIT_S, Fleet, Writer, linger, meanwhile


def test_killed_servers_lose_no_answer_and_disturb_no_study(fleet: Fleet, rng: Random) -> None:
    study, writer = fleet.create(trials=14, max_resource=9, epoch_s=0.05, asha=True), Writer(fleet)
    with meanwhile(writer.write):
        wait_until(lambda: fleet.reports(study) >= 2, "the study is under way", timeout_s=WAIT_S)
        for victims in rng.sample([fleet.stack.api, fleet.stack.control, fleet.stack.api], 3):
            linger(rng.uniform(0, 0.3))
            victim = rng.choice(victims)
            victim.kill()
            fleet.stack.respawn(victim)
            fleet.stack.wait_ready()
        written = len(writer.acknowledged)
        wait_until(lambda: len(writer.acknowledged) > written, "writes go on", timeout_s=WAIT_S)
        fleet.finish(study)
    writer.check()
    assert all(worker.alive for worker in fleet.stack.workers)
