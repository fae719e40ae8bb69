from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from models.batches import epoch_order
from models.catalog import TRAINERS, parse_config
from models.checkpoint import CorruptCheckpoint, load
from models.data import load_split
from models.image_config import ImageCnnConfig
from models.job import BadData, Diverged, EpochResult, InvalidConfig, Setup
from models.seeds import derive
from models.train import train, warm_up

from .conftest import Job

TINY = {"filters1": 4, "filters2": 4, "dense_units": 8, "train_images": 100, "lr": 0.01}


class Told:
    """Remembers what a watcher is told."""

    def __init__(self) -> None:
        self.setups: list[Setup] = []

    def progress(self, done: int, total: int) -> None: ...

    def started(self, setup: Setup) -> None:
        self.setups.append(setup)


def tiny() -> ImageCnnConfig:
    config = parse_config("image-cnn", TINY)
    assert isinstance(config, ImageCnnConfig)
    return config


def curve(results: Iterator[EpochResult]) -> list[tuple[float, float]]:
    return [(result.metrics["train_loss"], result.metrics["val_loss"]) for result in results]


def test_an_epoch_reports_every_metric_of_the_catalog(job: Job) -> None:
    results = list(train(job(**TINY, max_resource=3)))
    assert [result.step for result in results] == [1, 2, 3]
    for result in results:
        assert set(result.metrics) == set(TRAINERS["image-cnn"].metrics)
        assert all(type(value) is float for value in result.metrics.values())
        assert result.metrics["lr"] == 0.01
        assert result.seconds > 0


def test_two_conv_learns_digits(job: Job) -> None:
    results = list(train(job(lr=0.003, max_resource=9)))
    assert results[-1].metrics["val_acc"] > 0.95
    assert results[-1].metrics["train_loss"] < 0.2 < results[0].metrics["train_loss"]


def test_resnet_small_learns_digits(job: Job) -> None:
    results = list(train(job(architecture="resnet_small", width=8, lr=0.01, max_resource=4)))
    assert results[-1].metrics["val_acc"] > 0.9


def test_cifar10_is_trained_from_an_npz(job: Job, npz: Path) -> None:
    results = list(train(job(dataset="cifar10", **(TINY | {"train_images": 60}), max_resource=3)))
    assert results[-1].metrics["train_loss"] < results[0].metrics["train_loss"]


def test_missing_data_names_its_path(job: Job, tmp_path: Path) -> None:
    with pytest.raises(BadData, match=str(tmp_path / "cifar10")):
        next(train(job(dataset="cifar10")))


def test_a_wrong_configuration_is_refused(job: Job) -> None:
    with pytest.raises(InvalidConfig, match="filters1"):
        next(train(job(filters1=0)))


def test_the_seed_decides_the_curve(job: Job) -> None:
    one, same, other = (curve(train(job(**TINY, seed=seed))) for seed in (1, 1, 2))
    assert one == same != other


def test_the_global_generator_neither_decides_nor_notices(job: Job) -> None:
    torch.manual_seed(1)
    first = curve(train(job(**TINY, dropout=0.5)))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    results = train(job(**TINY, dropout=0.5))
    second = []
    for result in results:
        second.append((result.metrics["train_loss"], result.metrics["val_loss"]))
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(1)  # others may draw between epochs
        before = torch.get_rng_state()
    assert first == second


def test_trials_in_turns_do_not_disturb_each_other(job: Job) -> None:
    alone = curve(train(job(**TINY, dropout=0.5, seed=1)))
    pairs = zip(train(job(**TINY, dropout=0.5, seed=1)), train(job(**TINY, dropout=0.5, seed=2)), strict=True)
    assert curve(first for first, _ in pairs) == alone


def test_the_number_of_threads_is_the_jobs(job: Job) -> None:
    next(train(job(**TINY, threads=2)))
    assert torch.get_num_threads() == 2
    next(train(job(**TINY, threads=1)))
    assert torch.get_num_threads() == 1


def test_the_first_batch_is_announced_once_when_all_is_loaded(job: Job) -> None:
    told = Told()
    results = train(job(**TINY), told)
    assert told.setups == []
    list(results)
    (setup,) = told.setups
    assert setup.split_sha256 == load_split(tiny(), Path()).sha256
    assert setup.class_names == tuple("0123456789")
    with pytest.raises(BadData):
        next(train(job(dataset="cifar10"), told))
    assert told.setups == [setup]


def test_an_infinite_loss_is_a_divergence_with_its_metrics(job: Job) -> None:
    # Every step multiplies the weights by 1 - lr * weight_decay = -9.
    entries = TINY | {"lr": 10.0, "optimizer": "sgd", "momentum": 0.0, "weight_decay": 1.0, "batch_size": 10}
    with pytest.raises(Diverged) as caught:
        list(train(job(**entries, max_resource=40)))
    metrics = caught.value.metrics
    assert set(metrics) == set(TRAINERS["image-cnn"].metrics)
    assert not torch.tensor([metrics["train_loss"], metrics["val_loss"]]).isfinite().all()


def test_an_epoch_cannot_be_saved_once_the_next_was_asked_for(job: Job, tmp_path: Path) -> None:
    results = train(job(**TINY))
    first = next(results)
    first.save(tmp_path / "a")
    first.save(tmp_path / "b")
    assert load(tmp_path / "a").manifest == load(tmp_path / "b").manifest
    next(results)
    with pytest.raises(RuntimeError, match="epoch 1 can only be saved before"):
        first.save(tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_the_checkpoint_of_another_seed_is_not_resumed(job: Job, tmp_path: Path) -> None:
    next(train(job(**TINY, seed=1))).save(tmp_path / "saved")
    with pytest.raises(CorruptCheckpoint, match="is of seed 1"):
        next(train(job(**TINY, seed=2, from_step=1, resume=tmp_path / "saved")))


def test_a_checkpoint_is_not_resumed_on_data_that_changed(job: Job, npz: Path, tmp_path: Path) -> None:
    entries = TINY | {"dataset": "cifar10", "train_images": 50}
    next(train(job(**entries))).save(tmp_path / "saved")
    content = npz.read_bytes()
    with unzipped(npz) as arrays:
        arrays["images"][0, 0, 0, 0] ^= 1
    with pytest.raises(BadData, match="has changed"):
        next(train(job(**entries, from_step=1, resume=tmp_path / "saved")))
    npz.write_bytes(content)
    assert next(train(job(**entries, from_step=1, resume=tmp_path / "saved"))).step == 2


@contextmanager
def unzipped(path: Path) -> "Iterator[dict[str, np.ndarray]]":
    with np.load(path) as archive:
        arrays = dict(archive)
    yield arrays
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    "wrong",
    [{"from_step": 1}, {"resume": Path("x")}, {"from_step": 3, "resume": Path("x")}, {"max_resource": 0}],
)
def test_a_job_without_sense_is_refused(job: Job, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="want a checkpoint if and only if"):
        next(train(job(**TINY, **wrong)))


def test_a_trial_that_is_already_trained_has_no_epochs_left(job: Job, tmp_path: Path) -> None:
    next(train(job(**TINY, max_resource=1))).save(tmp_path / "saved")
    told = Told()
    finished = job(**TINY, from_step=1, max_resource=1, resume=tmp_path / "saved")
    assert list(train(finished, told)) == []
    assert told.setups == []


def test_an_epoch_visits_images_at_most_once_and_leaves_out_less_than_a_batch() -> None:
    rows = epoch_order(107, 25, seed=1)
    assert list(rows.shape) == [4, 25]
    assert len(rows.unique()) == 100
    assert not torch.equal(rows, epoch_order(107, 25, seed=2))


def test_fewer_images_than_a_batch_are_one_batch() -> None:
    assert epoch_order(7, 25, seed=1).sort().values.tolist() == [list(range(7))]


def test_streams_differ_by_seed_purpose_and_epoch() -> None:
    streams = {derive(seed, purpose, epoch) for seed in range(5) for purpose in "ab" for epoch in range(5)}
    assert len(streams) == 50
    assert all(0 <= stream < 2**63 for stream in streams)


def test_warming_up_leaves_digits_loaded(job: Job) -> None:
    warm_up()
    config = parse_config("image-cnn", {})
    assert isinstance(config, ImageCnnConfig)
    assert load_split(config, Path()).pixels is load_split(config, Path()).pixels
