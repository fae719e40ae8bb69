"""The real child, torch and all: what it reports, and that a trial handed over goes on as if nothing had happened."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.schemas.leases import Assignment, CheckpointRef, ReportOut
from tests.unit.workers.conftest import QUICK
from tests.unit.workers.fake_api import FakeApi, assignment
from workers.child import TRAINER, environment
from workers.limits import Limits, Place
from workers.pool import ChildPool, spawner
from workers.runner import Runner


@pytest.fixture(scope="module")
def torch_pool() -> Iterator[ChildPool]:
    pool = ChildPool(spawner(environment(os.environ, 1), TRAINER))
    yield pool
    pool.close()


def synthetic(number: int = 1, **fields: object) -> Assignment:
    defaults = {"trainer": "synthetic", "config": {"x": 0.4, "y": 0.2}, "target_step": 6, "max_resource": 6}
    return assignment(number, **{**defaults, **fields})


def run(pool: ChildPool, place: Place, *trials: Assignment, limits: Limits = QUICK) -> FakeApi:
    api = FakeApi(list(trials))
    Runner(api, pool, worker="w1", place=place, limits=limits).drain("cpu")
    return api


def curve(api: FakeApi) -> list[tuple[int, float]]:
    return [(step.step, step.metrics["loss"]) for _, body in api.reports for step in (*body.earlier, body)]


def test_a_trial_resumed_by_another_run_has_the_curve_of_an_uninterrupted_one(
    torch_pool: ChildPool, place: Place
) -> None:
    whole = curve(run(torch_pool, place, synthetic()))
    first = synthetic(target_step=3, max_resource=6)
    api = FakeApi([first], decide=lambda _, step: ReportOut(decision="pause" if step == 3 else "continue"))
    Runner(api, torch_pool, worker="w1", place=place, limits=QUICK).drain("cpu")
    saved = api.reports[-1][1].checkpoints[-1]
    ref = CheckpointRef(
        id=first.lease.token,
        trial=first.number,
        lease=first.lease.token,
        step=3,
        sha256=saved.sha256,
        size_bytes=saved.size_bytes,
    )
    second = synthetic(study_id=first.study_id, last_step=3, checkpoints=[ref])
    assert curve(api) + curve(run(torch_pool, place, second)) == whole


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"diverge_at": 2}, "diverged"),
        ({"raise_at": 2}, "user_error"),
        ({"oom_at": 2}, "oom"),
        ({"kill_at": 2}, "infra"),
        ({"no_such_entry": 2}, "user_error"),
    ],
)
def test_each_fault_of_the_synthetic_trainer_has_its_class(
    torch_pool: ChildPool, place: Place, config: dict[str, float], kind: str
) -> None:
    api = run(torch_pool, place, synthetic(config={"x": 0.4, "y": 0.2, **config}))
    ((_, told),) = api.tells
    assert told.error is not None
    assert told.error.type == kind


def test_digits_train_to_the_end_and_a_corrupt_manifest_is_no_obstacle(torch_pool: ChildPool, place: Place) -> None:
    config = {"dataset": "digits", "train_images": 100, "batch_size": 50}
    trial = assignment(trainer="image-cnn", config=config, target_step=2, max_resource=2)
    api = run(torch_pool, place, trial)
    assert api.steps() == [1, 2]
    saved = api.reports[-1][1].checkpoints[0]
    path = place.store.path(trial.study_id, 1, trial.lease.token, saved.step)
    Path(f"{path}.json").write_text("{")
    ref = CheckpointRef(
        id=trial.lease.token,
        trial=trial.number,
        lease=trial.lease.token,
        step=saved.step,
        sha256=saved.sha256,
        size_bytes=1,
    )
    # Of a longer training, so that there is something left to do.
    longer = assignment(
        trainer="image-cnn",
        config=config,
        study_id=trial.study_id,
        last_step=saved.step,
        target_step=3,
        max_resource=3,
        checkpoints=[ref],
    )
    again = run(torch_pool, place, longer)
    assert again.steps() == [1, 2, 3]
    assert [body.corrupt for _, body in again.reports if body.corrupt] == [[ref.id]]


def test_a_missing_data_set_is_named_and_the_worker_lives(torch_pool: ChildPool, place: Place) -> None:
    api = run(torch_pool, place, assignment(1, trainer="image-cnn", config={"dataset": "cifar10"}), synthetic(2))
    ((_, told),) = api.tells
    assert told.error is not None
    assert told.error.type == "user_error"
    assert str(place.data_root) in told.error.message
    assert api.steps(2) == [1, 2, 3, 4, 5, 6]
