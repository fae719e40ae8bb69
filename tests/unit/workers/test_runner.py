"""A worker's loop against an API in memory, with a real child process."""

import hashlib
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from api.schemas.leases import Assignment, ReportOut, TellIn
from hpo.checkpoints.filesystem import FilesystemStore
from tests.unit.workers.conftest import QUICK, MakeRunner, wait_for
from tests.unit.workers.fake_api import NEVER, FakeApi, assignment, failing, lease_lost, offered, refused, unreachable
from tests.unit.workers.stand_in import content
from workers.limits import Limits, Place
from workers.pool import ChildPool
from workers.room import Room
from workers.runner import Runner


def go(target: int) -> ReportOut:
    return ReportOut(decision="continue", target_step=target, lease_expires_at=NEVER)


def told(api: FakeApi) -> TellIn:
    assert len(api.tells) == 1, api.calls
    return api.tells[0][1]


def test_one_drain_runs_every_trial_and_reports_every_step_once(
    shared_pool: ChildPool, make_runner: MakeRunner
) -> None:
    api = FakeApi([assignment(number) for number in (1, 2, 3)])
    make_runner(api, shared_pool).drain("cpu")
    assert [api.steps(number) for number in (1, 2, 3)] == [[1, 2, 3]] * 3
    assert (api.tells, api.releases) == ([], [])


def test_one_warm_child_trains_one_trial_after_another(shared_pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(1), assignment(2)])
    make_runner(api, shared_pool).drain("cpu")
    assert api.metrics(1)["pid"] == api.metrics(2)["pid"]


def test_every_claim_has_its_own_id(shared_pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(1), assignment(2)])
    make_runner(api, shared_pool).drain("gpu")
    assert len({claim.claim_id for claim in api.claims}) == 3
    assert {(claim.worker, claim.queue) for claim in api.claims} == {("w1", "gpu")}


def test_a_claim_whose_answer_was_lost_is_repeated_with_its_id(shared_pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment()], hooks={"claim": failing(2, unreachable)})
    make_runner(api, shared_pool).drain("cpu")
    assert len(api.claims) == 4
    assert len({claim.claim_id for claim in api.claims[:3]}) == 1
    assert api.steps() == [1, 2, 3]


def test_a_refused_claim_ends_the_drain(shared_pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment()], hooks={"claim": failing(1, lambda: refused(403, "forbidden"))})
    make_runner(api, shared_pool).drain("cpu")
    assert len(api.claims) == 1


def test_the_checkpoint_of_a_rung_is_in_the_store_before_the_rung_is_reported(
    shared_pool: ChildPool, make_runner: MakeRunner, place: Place
) -> None:
    trial = assignment(rungs=[1, 3], target_step=3, max_resource=9, checkpoint_every=100)
    seen = []

    def look(body: Any) -> None:
        path = place.store.path(trial.study_id, 1, trial.lease.token, body.step)
        (checkpoint,) = body.checkpoints
        seen.append((body.step, place.store.verify(path, checkpoint.sha256)))

    api = FakeApi(
        [trial], hooks={"report": look}, decide=lambda _, step: go(3) if step == 1 else ReportOut(decision="pause")
    )
    make_runner(api, shared_pool).drain("cpu")
    assert seen == [(1, True), (3, True)]


def test_a_trial_that_may_go_on_does_so_in_place(shared_pool: ChildPool, make_runner: MakeRunner) -> None:
    def decide(trial: Assignment, step: int) -> ReportOut:
        return {1: go(3), 3: go(9), 9: ReportOut(decision="complete")}.get(step, go(9))

    api = FakeApi([assignment(rungs=[1, 3], target_step=1, max_resource=9)], decide=decide)
    make_runner(api, shared_pool).drain("cpu")
    assert api.steps() == list(range(1, 10))
    assert len(api.claims) == 2


@pytest.mark.parametrize("decision", ["pause", "stop", "complete"])
def test_a_decision_that_ends_the_lease_frees_the_worker(
    shared_pool: ChildPool, make_runner: MakeRunner, decision: Any
) -> None:
    trials = [assignment(number, rungs=[1], max_resource=3) for number in (1, 2)]
    api = FakeApi(trials, decide=lambda _, step: ReportOut(decision=decision))
    make_runner(api, shared_pool).drain("cpu")
    assert (api.steps(1), api.steps(2)) == ([1], [1])
    assert (api.tells, api.releases) == ([], [])


def test_epochs_between_rungs_travel_together_in_order(shared_pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(target_step=250, max_resource=250, checkpoint_every=2)])
    make_runner(api, shared_pool, Limits(report_every_s=60)).drain("cpu")
    assert api.steps() == list(range(1, 251))
    assert len(api.reports) <= 4
    assert [c.step for _, body in api.reports for c in body.checkpoints] == list(range(2, 251, 2))


def test_a_checkpoint_is_written_once_where_its_turn_and_a_rung_meet(
    shared_pool: ChildPool, make_runner: MakeRunner
) -> None:
    api = FakeApi([assignment(rungs=[2], target_step=4, max_resource=4, checkpoint_every=2)])
    make_runner(api, shared_pool).drain("cpu")
    assert [c.step for _, body in api.reports for c in body.checkpoints] == [2, 4]


def test_the_set_up_time_comes_with_the_first_report_only(shared_pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi(
        [assignment(rungs=[1, 2])], decide=lambda _, step: go(3) if step < 3 else ReportOut(decision="complete")
    )
    make_runner(api, shared_pool).drain("cpu")
    setups = [body.setup_s for _, body in api.reports]
    assert setups[0] is not None
    assert setups[1:] == [None, None]


def test_reports_that_get_no_answer_are_kept_in_order(shared_pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi(
        [assignment(config={"epoch_s": 0.01}, target_step=12, max_resource=12)],
        hooks={"report": failing(6, unreachable), "heartbeat": failing(3, unreachable)},
    )
    make_runner(api, shared_pool).drain("cpu")
    assert api.steps() == list(range(1, 13))


def test_a_child_that_runs_ahead_of_a_dead_api_is_held_not_lost(
    shared_pool: ChildPool, make_runner: MakeRunner
) -> None:
    outage = failing(10, unreachable)
    api = FakeApi([assignment(target_step=3000, max_resource=3000, checkpoint_every=3000)], hooks={"report": outage})
    make_runner(api, shared_pool).drain("cpu")
    assert api.steps() == list(range(1, 3001))


def test_a_worker_that_cannot_reach_the_api_gives_its_trial_up(pool: ChildPool, make_runner: MakeRunner) -> None:
    dead = {name: failing(10**6, unreachable) for name in ("report", "heartbeat")}
    api = FakeApi([assignment(rungs=[1])], hooks=dead)
    make_runner(api, pool, Limits(heartbeat_s=0.05, isolation_s=0.3, retry_s=0.02)).drain("cpu")
    assert (api.reports, api.tells, api.releases) == ([], [], [])
    assert api.calls == ["claim", "claim"]


def test_a_lost_lease_ends_the_child_and_nothing_more_is_said_of_the_trial(
    pool: ChildPool, make_runner: MakeRunner
) -> None:
    api = FakeApi([assignment(1, config={"hang_at": 1}), assignment(2)], hooks={"heartbeat": failing(1, lease_lost)})
    make_runner(api, pool).drain("cpu")
    assert api.steps(1) == []
    assert api.steps(2) == [1, 2, 3]
    assert (api.tells, api.releases) == ([], [])


def test_a_report_under_a_lost_lease_ends_the_run(pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(1, rungs=[1]), assignment(2)], hooks={"report": failing(1, lease_lost)})
    make_runner(api, pool).drain("cpu")
    assert (api.steps(1), api.steps(2)) == ([], [1, 2, 3])


def test_a_diverged_trial_is_told_with_the_metrics_of_its_last_epoch(
    shared_pool: ChildPool, make_runner: MakeRunner
) -> None:
    api = FakeApi([assignment(config={"diverge_at": 3})])
    make_runner(api, shared_pool).drain("cpu")
    body = told(api)
    assert api.steps() == [1, 2]
    assert (body.state, body.step) == ("failed", 3)
    assert body.error is not None
    assert (body.error.type, body.error.retryable) == ("diverged", False)
    assert body.model_dump()["metrics"] == {"loss": "nan", "acc": 0.1}


@pytest.mark.parametrize(
    ("fault", "kind", "retryable", "words"),
    [
        ("raise_at", "user_error", False, "RuntimeError: broken in epoch 2"),
        ("bad_data_at", "user_error", False, "/data/cifar10/batch_1 is torn"),
        ("oom_at", "oom", True, "no room"),
        ("kill_at", "infra", True, "words before the end"),
        ("exit_at", "user_error", False, "exited with status 3"),
        ("flood_at", "infra", True, "SIGKILL"),
        ("lie_at", "user_error", False, "spoke of step 900 when step 2 was due"),
    ],
)
def test_a_failure_is_told_with_its_class_and_the_next_trial_runs(
    pool: ChildPool, make_runner: MakeRunner, fault: str, kind: str, retryable: bool, words: str
) -> None:
    api = FakeApi([assignment(1, config={fault: 2}), assignment(2)])
    make_runner(api, pool).drain("cpu")
    error = told(api).error
    assert error is not None
    assert (error.type, error.retryable) == (kind, retryable)
    assert words in error.message + error.traceback
    assert api.steps(1) == [1]
    assert api.steps(2) == [1, 2, 3]


def test_a_child_that_failed_is_replaced_by_the_one_on_standby(pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(1, config={"raise_at": 2}), assignment(2)])
    make_runner(api, pool).drain("cpu")
    assert api.metrics(1)["pid"] != api.metrics(2)["pid"]


def test_bad_data_leaves_the_child_in_service(pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(1, config={"bad_data_at": 2}), assignment(2)])
    make_runner(api, pool).drain("cpu")
    assert api.metrics(1)["pid"] == api.metrics(2)["pid"]


@pytest.mark.parametrize("fault", ["print_at", "babble_at"])
def test_what_trial_code_prints_is_never_taken_for_the_protocol(
    shared_pool: ChildPool, make_runner: MakeRunner, fault: str
) -> None:
    api = FakeApi([assignment(config={fault: 2})])
    make_runner(api, shared_pool).drain("cpu")
    assert api.steps() == [1, 2, 3]
    assert (api.tells, api.releases) == ([], [])


def test_a_child_without_progress_is_killed_and_told_stalled(pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(config={"hang_at": 3})])
    make_runner(api, pool, Limits(heartbeat_s=0.05, report_every_s=0.01, stall_s=0.3)).drain("cpu")
    error = told(api).error
    assert error is not None
    assert (error.type, error.retryable) == ("stalled", True)
    assert api.steps() == [1, 2]


def test_a_slow_trial_is_given_five_of_its_own_epochs(pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(config={"epoch_s": 0.2, "says_s": 100.0})])
    make_runner(api, pool, Limits(stall_s=0.5)).drain("cpu")
    assert api.steps() == [1, 2, 3]
    assert api.tells == []


def test_a_trial_past_its_time_limit_is_told_stalled(pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(config={"epoch_s": 0.02}, timeout_s=0.3, target_step=1000, max_resource=1000)])
    make_runner(api, pool).drain("cpu")
    error = told(api).error
    assert error is not None
    assert error.type == "stalled"
    assert "0.3 s" in error.message
    assert api.steps() == list(range(1, len(api.steps()) + 1))


def test_waiting_for_a_decision_is_not_a_lack_of_progress(pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(rungs=[1])], hooks={"report": failing(20, unreachable)})
    limits = Limits(heartbeat_s=0.05, retry_s=0.02, stall_s=0.2)
    make_runner(api, pool, limits).drain("cpu")
    assert api.steps() == [1, 2, 3]


def test_a_pause_ends_the_epoch_saves_and_hands_back(pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(config={"epoch_s": 0.02}, target_step=500, max_resource=500, checkpoint_every=1000)])
    api.stop = "pause"
    make_runner(api, pool).drain("cpu")
    (_, last) = api.reports[-1]
    assert [number for number, _ in api.releases] == [1]
    assert [c.step for c in last.checkpoints] == [last.step]
    assert last.step < 500


@pytest.mark.parametrize("request_", ["stop", "cancel"])
def test_a_stopped_trial_is_killed_in_its_epoch_and_handed_back(
    pool: ChildPool, make_runner: MakeRunner, request_: str
) -> None:
    api = FakeApi([assignment(config={"hang_at": 2})])
    api.stop = request_
    make_runner(api, pool).drain("cpu")
    assert [number for number, _ in api.releases] == [1]
    assert api.steps() == [1]


def test_what_was_asked_of_one_trial_is_not_done_to_the_next(pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(1, config={"epoch_s": 0.02}, target_step=500, max_resource=500), assignment(2)])
    api.stop = "pause"

    def calm(_body: Any) -> None:
        api.stop = None

    api.hooks["release"] = calm
    make_runner(api, pool).drain("cpu")
    assert api.steps(2) == [1, 2, 3]
    assert len(api.releases) == 1


def test_a_refused_report_fails_the_trial_with_the_refusal(pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(1, rungs=[1]), assignment(2)], hooks={"report": failing(1, refused)})
    make_runner(api, pool).drain("cpu")
    error = told(api).error
    assert error is not None
    assert error.type == "user_error"
    assert "not like this" in error.message
    assert api.steps(2) == [1, 2, 3]


def test_a_full_disk_between_rungs_costs_checkpoints_only(shared_pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(config={"full_from": 2, "full_to": 3}, target_step=5, max_resource=5)])
    make_runner(api, shared_pool).drain("cpu")
    assert api.steps() == [1, 2, 3, 4, 5]
    assert [c.step for _, body in api.reports for c in body.checkpoints] == [1, 4, 5]


@pytest.mark.parametrize(("rungs", "steps"), [([2], [1]), ([], [1, 2, 3])])
def test_a_full_disk_at_a_rung_or_three_times_in_a_row_is_infra(
    shared_pool: ChildPool, make_runner: MakeRunner, rungs: list[int], steps: list[int]
) -> None:
    api = FakeApi([assignment(config={"full_from": 2}, rungs=rungs, target_step=9, max_resource=9)])
    make_runner(api, shared_pool).drain("cpu")
    error = told(api).error
    assert error is not None
    assert (error.type, error.retryable) == ("infra", True)
    assert "No space left" in error.message
    assert api.steps() == steps


def test_an_unwritable_store_is_infra(pool: ChildPool, make_runner: MakeRunner, place: Place) -> None:
    place.store.root.write_text("a file where the directory should be")
    api = FakeApi([assignment()])
    make_runner(api, pool).drain("cpu")
    error = told(api).error
    assert error is not None
    assert error.type == "infra"
    assert str(place.store.root) in error.message


def store_step(place: Place, trial: Assignment, step: int, *, data: bytes | None = None) -> Assignment:
    """The trial with one more checkpoint offered, whose file holds ``data``."""
    ref = offered(trial, step, hashlib.sha256(content(step)).hexdigest())
    place.store.prepare(trial.study_id, trial.number, ref.lease)
    place.store.path(trial.study_id, trial.number, ref.lease, step).write_bytes(content(step) if data is None else data)
    return trial.model_copy(update={"checkpoints": [*trial.checkpoints, ref]})


def test_training_resumes_from_the_newest_checkpoint(
    shared_pool: ChildPool, make_runner: MakeRunner, place: Place
) -> None:
    trial = assignment(last_step=2, target_step=4, max_resource=4)
    trial = store_step(place, store_step(place, trial, 2), 1)
    api = FakeApi([trial])
    make_runner(api, shared_pool).drain("cpu")
    assert api.steps() == [3, 4]


def test_a_corrupt_checkpoint_is_reported_and_the_previous_one_taken(
    shared_pool: ChildPool, make_runner: MakeRunner, place: Place
) -> None:
    trial = assignment(last_step=2, target_step=4, max_resource=4, rungs=[1])
    trial = store_step(place, store_step(place, trial, 2, data=b"flipped"), 1)
    api = FakeApi([trial])
    make_runner(api, shared_pool).drain("cpu")
    assert api.steps() == [2, 3, 4]
    assert [body.corrupt for _, body in api.reports if body.corrupt] == [[trial.checkpoints[0].id]]


def test_without_a_sound_checkpoint_training_starts_anew_and_old_decisions_do_not_end_it(
    shared_pool: ChildPool, make_runner: MakeRunner, place: Place
) -> None:
    """Rung 1 had said pause; the trial was promoted since, and its checkpoints are gone."""
    trial = store_step(place, assignment(last_step=1, target_step=3, rungs=[1]), 1, data=b"torn")
    answers = {1: ReportOut(decision="pause"), 2: go(3), 3: ReportOut(decision="complete")}
    api = FakeApi([trial], decide=lambda _, step: answers[step])
    make_runner(api, shared_pool, Limits(report_every_s=0.0)).drain("cpu")
    assert api.steps() == [1, 2, 3]


def test_a_checkpoint_that_the_trainer_cannot_use_counts_as_corrupt(
    shared_pool: ChildPool, make_runner: MakeRunner, place: Place
) -> None:
    trial = assignment(last_step=2, target_step=4, max_resource=4)
    trial = store_step(place, store_step(place, trial, 2), 1)
    foreign = trial.checkpoints[0].model_copy(update={"sha256": hashlib.sha256(b"another's").hexdigest()})
    place.store.path(trial.study_id, 1, foreign.lease, 2).write_bytes(b"another's")
    trial = trial.model_copy(update={"checkpoints": [foreign, trial.checkpoints[1]]})
    api = FakeApi([trial])
    make_runner(api, shared_pool).drain("cpu")
    assert api.steps() == [2, 3, 4]
    assert [body.corrupt for _, body in api.reports if body.corrupt] == [[foreign.id]]


def test_a_runner_is_idle_from_its_first_look_in_vain(pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi()
    runner = make_runner(api, pool)
    assert runner.idle_s == 0
    assert not runner.stop_if_idle(0.01)
    runner.drain("cpu")
    looked_at = time.monotonic()
    runner.drain("cpu")
    at_least_s = time.monotonic() - looked_at
    assert runner.idle_s >= at_least_s
    assert not runner.stop_if_idle(1000.0)
    wait_for(lambda: runner.stop_if_idle(0.01))
    api.add(assignment())
    runner.drain("cpu")
    assert api.calls == ["claim", "claim"]
    assert not runner.stop_if_idle(0.01)  # it has stopped already


@pytest.mark.parametrize("what", ["trial", "outage"])
def test_a_trial_and_an_api_that_does_not_answer_end_the_idle_time(
    shared_pool: ChildPool, make_runner: MakeRunner, what: str
) -> None:
    api = FakeApi()
    runner = make_runner(api, shared_pool)
    runner.drain("cpu")
    wait_for(lambda: runner.idle_s >= 0.05)
    looked_at = time.monotonic()
    if what == "trial":
        api.add(assignment())
    else:
        api.hooks["claim"] = failing(1, unreachable)
    runner.drain("cpu")
    idle_s, at_most_s = runner.idle_s, time.monotonic() - looked_at
    assert idle_s < at_most_s


def test_idle_time_that_is_over_does_not_stop_the_run_of_the_next_trial(
    pool: ChildPool, make_runner: MakeRunner
) -> None:
    api = FakeApi()
    runner = make_runner(api, pool)
    runner.drain("cpu")
    wait_for(lambda: runner.idle_s >= 0.01)
    stop = Thread(target=runner.stop_if_idle, args=(0.01,))
    api.add(assignment(config={"epoch_s": 0.02}))
    api.hooks["claim"] = lambda _: stop.start() if stop.ident is None else None
    runner.drain("cpu")
    assert api.steps() == [1, 2, 3]
    assert api.releases == []
    stop.join()


def test_a_slot_that_another_keeps_from_looking_is_not_idle(shared_pool: ChildPool, tmp_path: Path) -> None:
    api, (mine, other) = FakeApi(), (Room(tmp_path), Room(tmp_path))
    place = Place(FilesystemStore(tmp_path / "store"), tmp_path / "data", threads=1, room=mine)
    runner = Runner(api, shared_pool, worker="w1", place=place, limits=QUICK)
    runner.drain("cpu")
    assert runner.idle_s > 0
    runner.make_room()  # whatever the tests before have trained in the pool
    assert other.take()
    thread = Thread(target=runner.drain, args=("cpu",))
    thread.start()
    wait_for(lambda: runner.idle_s == 0)
    other.leave()
    thread.join()
    assert len(api.claims) == 2
    assert runner.idle_s > 0
    for room in (mine, other):
        room.close()


def test_the_lease_is_renewed_while_a_long_epoch_runs(shared_pool: ChildPool, make_runner: MakeRunner) -> None:
    trial = assignment(config={"epoch_s": 0.4}, target_step=1, max_resource=1)
    api = FakeApi([trial])
    make_runner(api, shared_pool, QUICK).drain("cpu")
    assert len(api.heartbeats) >= 2
    assert set(api.heartbeats) == {trial.lease.token}
