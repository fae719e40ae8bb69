"""A paused trial that is promoted goes on where it was: nothing is trained twice and no bit differs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file
from sqlalchemy import create_engine

from hpo.checkpoints.filesystem import FilesystemStore
from ladder import Client
from ladder.stack import LocalStack
from tests.audit import audit
from tests.timeless import timeless

WAIT_S = 150.0
FULL = 4

# With this seed the learning rates fall from 3.7e-3 to 1.2e-4. The first trial is by far the best, so it waits at every
# rung until others have arrived there, and is promoted twice.
BEST = 0
SPEC: dict[str, Any] = {
    "objectives": [{"metric": "val_loss", "direction": "minimize"}],
    "search_space": [{"type": "float", "name": "lr", "low": 1e-4, "high": 1e-1, "log": True}],
    "sampler": {"type": "random", "seed": 1607},
    "trainer": {
        "name": "image-cnn",
        "config": {
            "dataset": "digits",
            "architecture": "two_conv",
            "train_images": 400,
            "filters1": 8,
            "filters2": 8,
            "dense_units": 16,
            "dropout": 0.2,
        },
    },
    "budget": {"max_trials": 4},
}
ASHA = {"type": "asha", "min_resource": 1, "max_resource": FULL, "reduction_factor": 2}
FIFO = {"type": "fifo", "max_resource": FULL}


@dataclass(frozen=True)
class Trained:
    """Two studies of the same trials: one promotes them rung by rung, one trains each at a stretch."""

    client: Client
    store: FilesystemStore
    promoting: UUID
    whole: UUID
    promotions: int  # of the best trial, after it had waited
    database_url: str

    def curve(self, study: UUID, number: int) -> list[tuple[int, dict[str, Any]]]:
        steps = self.client.studies.metrics(str(study), number)
        return [(s.step, timeless(s.metrics)) for s in steps]

    def tensors(self, study: UUID, number: int, step: int) -> dict[str, NDArray[Any]]:
        [lease] = self.leases_of(study, number, step)
        tensors: dict[str, NDArray[Any]] = load_file(self.store.path(study, number, lease, step))
        return tensors

    def leases_of(self, study: UUID, number: int, step: int) -> list[UUID]:
        """Leases under which a checkpoint of the step was written: one for each time that the step was trained."""
        engine = create_engine(self.database_url)
        try:
            with engine.begin() as tx:
                query = (
                    "SELECT c.lease_id FROM checkpoint c JOIN trial t ON t.id = c.trial_id"
                    " WHERE t.study_id = %(study)s AND t.number = %(number)s AND c.step = %(step)s"
                )
                found = tx.exec_driver_sql(query, {"study": study, "number": number, "step": step})
                return list(found.scalars())
        finally:
            engine.dispose()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    home: Path = tmp_path_factory.mktemp("ladder")
    with LocalStack(home, workers=1, durable=False) as stack, Client(stack.url, stack.token) as client:
        promoting = client.studies.create({**SPEC, "name": "promoting", "scheduler": ASHA})
        whole = client.studies.create({**SPEC, "name": "whole", "scheduler": FIFO})
        for study in (promoting, whole):
            assert study.wait(timeout=WAIT_S).info.state == "finished"
        promoted = [event.trial for event in promoting.events() if event.type == "trial-promoted"]
        yield Trained(
            client,
            FilesystemStore(stack.checkpoint_root),
            promoting.info.id,
            whole.info.id,
            promoted.count(BEST),
            stack.database_url,
        )
        assert audit(stack.database_url, checkpoint_root=stack.checkpoint_root) == []


def test_a_promoted_trial_trains_no_epoch_twice(trained: Trained) -> None:
    attempts = trained.client.studies.attempts(str(trained.promoting), BEST)
    assert trained.promotions == 2
    assert [(attempt.start_step, attempt.end_step) for attempt in attempts] == [(0, 1), (1, 2), (2, FULL)]
    trainings = [len(trained.leases_of(trained.promoting, BEST, step)) for step in range(1, FULL + 1)]
    assert trainings == [1] * FULL


def test_a_promoted_trial_has_the_curve_of_one_that_was_never_interrupted(trained: Trained) -> None:
    curve = trained.curve(trained.promoting, BEST)
    assert [step for step, _ in curve] == list(range(1, FULL + 1))
    assert curve == trained.curve(trained.whole, BEST)


def test_a_promoted_trial_ends_with_the_tensors_of_one_that_was_never_interrupted(trained: Trained) -> None:
    resumed, whole = (trained.tensors(study, BEST, FULL) for study in (trained.promoting, trained.whole))
    assert resumed.keys() == whole.keys()
    assert len(resumed) > 4
    for name, tensor in resumed.items():
        assert (tensor.dtype, tensor.shape) == (whole[name].dtype, whole[name].shape)
        assert tensor.tobytes() == whole[name].tobytes(), name
