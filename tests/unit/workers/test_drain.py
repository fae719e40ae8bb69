"""A worker that is asked to stop hands its trial back and claims no other."""

from threading import Event, Thread
from typing import Any

import pytest

from tests.unit.workers.conftest import MakeRunner, wait_for
from tests.unit.workers.fake_api import FakeApi, assignment, failing, lease_lost, unreachable
from workers.limits import Limits, Place
from workers.pool import ChildPool
from workers.runner import Runner

ENDLESS: dict[str, Any] = {"config": {"epoch_s": 0.02}, "target_step": 10_000, "max_resource": 10_000}


def drain_in_background(runner: Runner) -> Thread:
    thread = Thread(target=runner.drain, args=("cpu",))
    thread.start()
    return thread


def ended(thread: Thread) -> bool:
    thread.join(timeout=20)
    return not thread.is_alive()


@pytest.mark.parametrize("times", [1, 3])
def test_a_stopped_worker_saves_reports_hands_back_and_claims_nothing_more(
    pool: ChildPool, make_runner: MakeRunner, place: Place, times: int
) -> None:
    trial = assignment(1, checkpoint_every=10_000, **ENDLESS)
    api = FakeApi([trial, assignment(2)])
    runner = make_runner(api, pool)
    thread = drain_in_background(runner)
    wait_for(lambda: api.reports)
    for _ in range(times):
        runner.stop()
    assert ended(thread)
    (_, last) = api.reports[-1]
    (saved,) = last.checkpoints
    assert saved.step == last.step
    assert place.store.verify(place.store.path(trial.study_id, 1, trial.lease.token, saved.step), saved.sha256)
    assert [number for number, _ in api.releases] == [1]
    assert len(api.claims) == 1


def test_a_child_that_cannot_end_its_epoch_in_time_is_killed_and_the_trial_handed_back(
    pool: ChildPool, make_runner: MakeRunner
) -> None:
    api = FakeApi([assignment(config={"hang_at": 2}, target_step=9, max_resource=9)])
    runner = make_runner(api, pool, Limits(heartbeat_s=0.05, drain_s=0.2, report_every_s=0.01))
    thread = drain_in_background(runner)
    wait_for(lambda: api.reports)
    runner.stop()
    assert ended(thread)
    assert api.steps() == [1]
    assert [number for number, _ in api.releases] == [1]
    assert api.tells == []


def test_a_worker_stopped_during_its_claim_hands_the_trial_back_untouched(
    pool: ChildPool, make_runner: MakeRunner
) -> None:
    api = FakeApi([assignment()])
    runner = make_runner(api, pool)
    api.hooks["claim"] = lambda _: runner.stop()
    runner.drain("cpu")
    assert api.calls == ["claim", "release"]


def test_a_worker_stopped_while_a_rung_gets_no_answer_is_gone_in_time(pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(rungs=[1])])
    asked = Event()

    def dead(_body: Any) -> None:
        asked.set()
        raise unreachable()

    api.hooks["report"] = dead
    runner = make_runner(api, pool, Limits(heartbeat_s=0.05, drain_s=0.3, retry_s=0.02))
    thread = drain_in_background(runner)
    assert asked.wait(20)
    runner.stop()
    assert ended(thread)
    assert "tell" not in api.calls


def test_a_decision_that_comes_while_draining_is_obeyed(pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(rungs=[1], target_step=1, max_resource=1), assignment(2)])
    runner = make_runner(api, pool)
    api.hooks["report"] = lambda _: runner.stop()
    runner.drain("cpu")
    assert api.calls == ["claim", "report"]


def test_a_trial_that_goes_on_at_a_rung_while_draining_is_handed_back(pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(rungs=[1], target_step=9, max_resource=9, config={"epoch_s": 0.05})])
    runner = make_runner(api, pool)
    api.hooks["report"] = lambda _: runner.stop()
    runner.drain("cpu")
    assert api.steps() in ([1], [1, 2])
    assert [number for number, _ in api.releases] == [1]


def test_a_release_is_said_again_until_it_is_heard(pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(**ENDLESS)], hooks={"release": failing(3, unreachable)})
    runner = make_runner(api, pool)
    thread = drain_in_background(runner)
    wait_for(lambda: api.reports)
    runner.stop()
    assert ended(thread)
    assert [number for number, _ in api.releases] == [1]


def test_a_release_under_a_lost_lease_ends_the_run(pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(**ENDLESS)], hooks={"release": failing(10**6, lease_lost)})
    runner = make_runner(api, pool)
    thread = drain_in_background(runner)
    wait_for(lambda: api.reports)
    runner.stop()
    assert ended(thread)
    assert api.releases == []


def test_a_worker_stopped_while_the_api_is_away_claims_no_more(pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment()], hooks={"claim": failing(10**6, unreachable)})
    runner = make_runner(api, pool)
    thread = drain_in_background(runner)
    wait_for(lambda: len(api.claims) >= 2)
    runner.stop()
    assert ended(thread)
    assert len({claim.claim_id for claim in api.claims}) == 1


def test_a_stopped_worker_ignores_a_doorbell(pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment()])
    runner = make_runner(api, pool)
    runner.stop()
    runner.drain("cpu")
    assert api.calls == []


def test_two_doorbells_take_turns(pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(number) for number in (1, 2, 3, 4)])
    runner = make_runner(api, pool, Limits(report_every_s=60))
    threads = [drain_in_background(runner) for _ in range(3)]
    assert all(ended(thread) for thread in threads)
    assert api.calls == ["claim", "report"] * 4 + ["claim"] * 3
