"""What a trainer says besides its metrics: that it has ended of its own accord, its data, its confusion matrices."""

import hashlib
from typing import Any

import pytest

from api.schemas.leases import MAX_CLASSES, ReportOut
from tests.unit.workers.conftest import QUICK, MakeRunner
from tests.unit.workers.fake_api import NEVER, FakeApi, assignment, failing, lease_lost, offered, refused, unreachable
from tests.unit.workers.stand_in import content
from workers.limits import Limits, Place
from workers.pace import Pace
from workers.pool import ChildPool
from workers.protocol import MAX_LINE_BYTES, Batch, Epoch, Progress, said
from workers.trainer import _Telling

SPLIT = "5" * 64


def ending(number: int = 1, *, after: int = 2, **fields: Any) -> Any:
    defaults: dict[str, Any] = {"target_step": 9, "max_resource": 9, "checkpoint_every": 100}
    config = {"finish_after": after, **fields.pop("config", {})}
    return assignment(number, config=config, **{**defaults, **fields})


def states(api: FakeApi) -> list[tuple[int, str]]:
    return [(number, body.state) for number, body in api.tells]


def test_a_trial_that_ends_of_its_own_accord_is_reported_and_then_told_complete(
    shared_pool: ChildPool, make_runner: MakeRunner, place: Place
) -> None:
    trial = ending(1)
    api = FakeApi([trial, assignment(2)])
    make_runner(api, shared_pool).drain("cpu")
    assert (api.steps(1), states(api), api.releases) == ([1, 2], [(1, "complete")], [])
    (saved,) = [one for number, body in api.reports if number == 1 for one in body.checkpoints]
    assert saved.step == 2
    assert place.store.verify(place.store.path(trial.study_id, 1, trial.lease.token, 2), saved.sha256)


def test_its_child_trains_the_next_trial(shared_pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([ending(1), assignment(2)])
    make_runner(api, shared_pool).drain("cpu")
    assert api.metrics(1)["pid"] == api.metrics(2)["pid"]
    assert api.steps(2) == [1, 2, 3]


@pytest.mark.parametrize("decision", ["pause", "stop", "complete"])
def test_the_decision_at_a_rung_stands_before_the_own_end(
    shared_pool: ChildPool, make_runner: MakeRunner, decision: Any
) -> None:
    api = FakeApi([ending(rungs=[2]), assignment(2)], decide=lambda trial, _: ReportOut(decision=decision))
    make_runner(api, shared_pool).drain("cpu")
    assert (api.steps(1), api.tells, api.releases) == ([1, 2], [], [])


def test_a_trial_that_ends_at_a_rung_and_may_go_on_is_complete(shared_pool: ChildPool, make_runner: MakeRunner) -> None:
    on = ReportOut(decision="continue", target_step=9, lease_expires_at=NEVER)
    api = FakeApi([ending(rungs=[2], target_step=2)], decide=lambda *_: on)
    make_runner(api, shared_pool).drain("cpu")
    assert (api.steps(), states(api)) == ([1, 2], [(1, "complete")])


def test_a_trial_that_had_ended_when_it_was_paused_is_told_complete_when_it_is_taken_up_again(
    shared_pool: ChildPool, make_runner: MakeRunner, place: Place
) -> None:
    trial = ending(last_step=2)
    ref = offered(trial, 2, hashlib.sha256(content(2)).hexdigest())
    path = place.store.path(trial.study_id, ref.trial, ref.lease, 2)
    path.parent.mkdir(parents=True)
    path.write_bytes(content(2))
    path.with_name(path.name + ".json").write_text("{}")
    api = FakeApi([trial.model_copy(update={"checkpoints": [ref]})])
    make_runner(api, shared_pool).drain("cpu")
    assert (api.reports, states(api), api.releases) == ([], [(1, "complete")], [])


@pytest.mark.parametrize("call", ["report", "tell"])
def test_a_lost_reply_is_asked_for_again(shared_pool: ChildPool, make_runner: MakeRunner, call: str) -> None:
    api = FakeApi([ending()], hooks={call: failing(3, unreachable)})
    make_runner(api, shared_pool).drain("cpu")
    assert (api.steps(), states(api)) == ([1, 2], [(1, "complete")])


def test_an_own_end_whose_first_telling_was_heard_ends_the_run(shared_pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([ending(1), assignment(2)], hooks={"tell": failing(1, lease_lost)})
    make_runner(api, shared_pool).drain("cpu")
    assert (states(api), api.steps(2)) == ([], [1, 2, 3])


def test_matrices_come_where_a_decision_waits_and_at_the_end(shared_pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([ending(after=3, config={"classes": 2}, rungs=[1])])
    make_runner(api, shared_pool, QUICK).drain("cpu")
    found = {one.step: one.confusion for _, body in api.reports for one in (*body.earlier, body)}
    assert found == {1: [[1, 1], [1, 1]], 2: None, 3: [[3, 3], [3, 3]]}


@pytest.mark.parametrize(("classes", "sent"), [(100, True), (MAX_CLASSES, True), (MAX_CLASSES + 1, False)])
def test_up_to_two_hundred_classes_come_through_the_pipe(
    shared_pool: ChildPool, make_runner: MakeRunner, classes: int, sent: bool
) -> None:
    api = FakeApi([ending(after=1, config={"classes": classes})])
    make_runner(api, shared_pool).drain("cpu")
    ((_, body),) = api.reports
    assert (body.confusion is not None) == sent
    assert len(body.class_names) == (classes if sent else 0)
    assert states(api) == [(1, "complete")]


def test_the_longest_lines_of_a_child_fit() -> None:
    most, names = [[10**9] * MAX_CLASSES] * MAX_CLASSES, ["ж" * 255] * MAX_CLASSES
    epoch = {"run": 1, "step": 10**9, "seconds": 1.0, "confusion": most, "metrics": {}}
    lines = [Epoch.model_validate(epoch).line(), Batch(run=1, split_sha256=SPLIT, class_names=names).line()]
    assert all(said(line) is not None for line in lines)
    assert max(map(len, lines)) < MAX_LINE_BYTES


def test_the_data_are_told_with_the_first_report_only(shared_pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(config={"split": SPLIT, "classes": 2}, rungs=[1, 2])])
    make_runner(api, shared_pool).drain("cpu")
    told = [(body.split_sha256, body.class_names) for _, body in api.reports]
    assert told == [(SPLIT, ["class 0", "class 1"]), (None, []), (None, [])]


def test_a_trial_on_other_data_fails_by_its_own_fault(pool: ChildPool, make_runner: MakeRunner) -> None:
    api = FakeApi([assignment(config={"split": SPLIT})], hooks={"report": failing(1, refused)})
    make_runner(api, pool).drain("cpu")
    ((_, body),) = api.tells
    assert body.error is not None
    assert (body.error.type, body.error.retryable) == ("user_error", False)


def test_what_is_done_within_a_step_is_progress_as_long_as_it_changes() -> None:
    pace = Pace(Limits(stall_s=10), 0.0, None)
    pace.progress(8.0, 5, 9)
    assert pace.stalled_at == 18.0
    pace.progress(16.0, 5, 9)
    assert pace.stalled_at == 18.0
    pace.progress(17.0, 6, 9)
    assert pace.stalled_at == 27.0
    pace.progress(20.0, 1, 3)  # the images are decoded, the first of a fold's epochs is over
    assert pace.stalled_at == 30.0


def test_the_epochs_of_the_next_fold_are_progress_though_they_are_told_alike() -> None:
    pace = Pace(Limits(stall_s=10, stall_epochs=1), 0.0, None)
    pace.progress(1.0, 1, 1)
    pace.epoch(2.0, 2.0)
    pace.progress(4.0, 1, 1)
    assert pace.stalled_at == 14.0


def test_what_is_done_within_a_step_is_told_once_a_second_and_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[object] = []
    telling = _Telling(said.append, 3)
    for second, done in ((100.0, 1), (100.4, 2), (100.9, 3), (101.0, 4), (101.5, 5), (101.6, 9)):
        monkeypatch.setattr("workers.trainer.time.monotonic", lambda second=second: second)
        telling.progress(done, 9)
    assert said == [Progress(run=3, done=done, total=9) for done in (1, 4, 9)]
