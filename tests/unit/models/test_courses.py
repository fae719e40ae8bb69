"""What a configuration makes of a training: folds, patience, averages, schedules, a final trial, and their resuming."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from models import precision
from models.checkpoint import CorruptCheckpoint, load
from models.data import load_split
from models.job import BadData, InvalidConfig, Setup
from models.train import train
from tests.timeless import timeless

from .conftest import Job

TINY = {"filters1": 4, "filters2": 4, "dense_units": 8, "train_images": 100, "lr": 0.01, "batch_size": 20}
FOLDS = {"filters1": 4, "filters2": 4, "dense_units": 8, "train_fraction": 0.1, "folds": 3, "fold_epochs": 2}
# Everything that may hold state or draw noise, at once.
RICH = TINY | {
    "ema": 0.9,
    "l1": 1e-4,
    "grad_clip": 1.0,
    "dropout": 0.3,
    "label_smoothing": 0.1,
    "class_weights": "inverse",
    "augment": "crop_flip",
    "mix": "cutmix",
    "schedule": "cosine",
    "warmup": 0.2,
    "optimizer": "sgd",
    "nesterov": True,
    "patience": 50,
}


def resumed_after(job: Job, steps: int, folder: Path, **entries: Any) -> list[dict[str, float]]:
    """The metrics of a training that is interrupted after so many steps and goes on from its checkpoint."""
    saved = folder / "saved"
    first = []
    for result in islice(train(job(**entries)), steps):
        first.append(timeless(result.metrics))
        result.save(saved)
    return first + [timeless(result.metrics) for result in train(job(**entries, from_step=steps, resume=saved))]


@pytest.mark.parametrize("entries", [RICH, RICH | {"amp": "bf16", "augment": "paper_affine", "mix": "mixup"}, FOLDS])
def test_an_interrupted_training_is_the_uninterrupted_one(job: Job, tmp_path: Path, entries: dict[str, Any]) -> None:
    straight = [timeless(result.metrics) for result in train(job(**entries, max_resource=3))]
    for steps in (1, 2):
        assert resumed_after(job, steps, tmp_path, **entries, max_resource=3) == straight


def test_every_setting_changes_what_is_learnt(job: Job) -> None:
    plain = TINY | {"optimizer": "sgd", "train_images": None, "train_fraction": 0.07}
    others = [{name: RICH[name]} for name in RICH if name not in (*TINY, "optimizer", "patience", "warmup")]
    others += [{"warmup": 0.5}, {"augment": "randaugment"}, {"augment": "paper_affine"}, {"mix": "mixup"}]
    losses = [list(train(job(**plain | other)))[-1].metrics["val_loss"] for other in [{}, *others]]
    assert len(set(losses)) == len(losses), losses


def test_a_fold_reports_its_own_figures_and_the_mean_so_far(job: Job) -> None:
    results = list(train(job(**FOLDS, max_resource=3)))
    for name in ("val_acc", "val_loss", "macro_f1"):
        own = [result.metrics[f"fold_{name}"] for result in results]
        assert len(set(own)) > 1
        means = [result.metrics[name] for result in results]
        assert means == pytest.approx([fmean(own[:count]) for count in (1, 2, 3)])


def test_the_folds_validate_every_image_once(job: Job) -> None:
    results = list(train(job(**FOLDS, max_resource=3)))
    counted = [sum(map(sum, result.confusion or ())) for result in results]
    split = load_split(parsed(FOLDS), Path(), fold=1)
    assert counted[-1] == len(split.pixels)
    assert counted[0] == len(split.val.labels)


def parsed(entries: Mapping[str, Any]) -> Any:
    from models.catalog import parse_config

    return parse_config("image-cnn", entries)


def test_patience_ends_a_training_after_so_many_epochs_without_a_better_loss(job: Job) -> None:
    # Nothing is learnt at this rate, so that no epoch is better than the first.
    still = TINY | {"lr": 1e-30, "optimizer": "sgd", "momentum": 0.0, "patience": 3}
    results = list(train(job(**still, max_resource=20)))
    assert [result.finished for result in results] == [False, False, False, True]


def test_patience_is_counted_on_after_an_interruption(job: Job, tmp_path: Path) -> None:
    still = TINY | {"lr": 1e-30, "optimizer": "sgd", "momentum": 0.0, "patience": 3, "max_resource": 20}
    assert len(resumed_after(job, 2, tmp_path, **still)) == 4


def test_a_training_whose_patience_has_ended_is_not_taken_up_again(job: Job, tmp_path: Path) -> None:
    still = TINY | {"lr": 1e-30, "optimizer": "sgd", "momentum": 0.0, "patience": 1, "max_resource": 20}
    assert len(resumed_after(job, 2, tmp_path, **still)) == 2


def test_a_final_trial_is_not_ended_by_patience_where_patience_can_judge_nothing(job: Job) -> None:
    entries = TINY | {"lr": 1e-30, "optimizer": "sgd", "momentum": 0.0, "patience": 1, "max_resource": 4}
    assert len(list(train(job(**entries, final="train_and_validation")))) == 4
    assert len(list(train(job(**entries, final="train")))) == 2
    folds = FOLDS | {"folds": 5, "fold_epochs": 2, "patience": 1, "final": "train", "max_resource": 5}
    assert len(list(train(job(**folds)))) == 5


def test_the_epochs_of_a_fold_are_told_as_progress(job: Job) -> None:
    told: list[tuple[int, int]] = []

    class Told:
        def progress(self, done: int, total: int) -> None:
            told.append((done, total))

        def started(self, setup: Setup) -> None: ...

    list(train(job(**FOLDS, max_resource=3), Told()))
    assert told == [(1, 2), (2, 2)] * 3


@pytest.mark.parametrize("before", [0.0, 0.5])
@pytest.mark.parametrize("after", [0.0, 0.5])
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
def test_a_trial_of_a_population_may_go_on_with_another_momentum(
    job: Job, tmp_path: Path, optimizer: str, before: float, after: float
) -> None:
    entries = TINY | {"optimizer": optimizer}
    next(train(job(**entries, momentum=before))).save(tmp_path / "saved")
    other = job(**entries, momentum=after, seed=5, from_step=1, resume=tmp_path / "saved", inherits=True)
    (result,) = train(other)
    assert result.metrics["val_loss"] > 0


def test_weights_of_classes_do_not_change_the_scale_of_a_mixed_loss(job: Job) -> None:
    """Weights that are equal for all classes are no weights, with labels and with shares."""
    balanced = TINY | {"train_images": 100, "mix": "mixup"}
    plain, weighted = (
        list(train(job(**balanced, class_weights=name)))[-1].metrics["train_loss"] for name in ("none", "inverse")
    )
    assert weighted == pytest.approx(plain, rel=1e-5)
    uneven = {"dataset": "npz", "data_path": "uneven.npz", "filters1": 4, "filters2": 4, "dense_units": 8}
    labels = np.repeat([0, 1], [160, 40])
    np.savez(
        job().data_root / "uneven.npz",
        images=np.full((200, 8, 8), 200, np.uint8) * labels[:, None, None].astype(np.uint8),
        labels=labels,
    )
    first = {
        mix: next(train(job(**uneven, class_weights="inverse", mix=mix, mix_alpha=1e-3, lr=1e-30)))
        for mix in ("none", "mixup")
    }
    # With so small an alpha hardly anything is mixed: the two losses are of the same pictures.
    assert first["mixup"].metrics["train_loss"] == pytest.approx(first["none"].metrics["train_loss"], rel=0.05)


def test_random_operations_are_refused_for_images_of_two_channels(job: Job) -> None:
    labels = np.arange(60) % 3
    np.savez(job().data_root / "two.npz", images=np.zeros((60, 8, 8, 2), np.uint8), labels=labels)
    with pytest.raises(
        InvalidConfig, match="augment: got 'randaugment', which changes grey and RGB images; these have 2"
    ):
        next(train(job(dataset="npz", data_path="two.npz", augment="randaugment")))


def test_a_test_part_of_other_data_is_not_scored(job: Job) -> None:
    """The file is replaced while the final trial trains."""
    labels = np.arange(90) % 3
    path = job().data_root / "set.npz"
    np.savez(path, images=np.zeros((90, 8, 8), np.uint8), labels=labels)
    results = train(job(dataset="npz", data_path="set.npz", final="train"))
    next(results)
    np.savez(path, images=np.ones((120, 8, 8), np.uint8), labels=np.arange(120) % 3)
    with pytest.raises(BadData, match="has changed"):
        next(results)


def test_a_schedule_is_laid_out_over_the_whole_training_and_not_over_a_rung(job: Job) -> None:
    rates = [result.metrics["lr"] for result in islice(train(job(**TINY, schedule="cosine", max_resource=50)), 3)]
    assert min(rates) > 0.95 * TINY["lr"]


def test_what_is_validated_and_kept_is_the_average_of_the_weights(job: Job, tmp_path: Path) -> None:
    next(train(job(**TINY, ema=0.99, max_resource=1))).save(tmp_path / "saved")
    checkpoint = load(tmp_path / "saved")
    weights, averages = checkpoint.part("model"), checkpoint.part("ema")
    assert weights.keys() == averages.keys()
    assert any(not weights[name].equal(averages[name]) for name in weights)


def test_a_checkpoint_says_what_its_network_takes(job: Job, tmp_path: Path) -> None:
    next(train(job(**TINY, max_resource=1))).save(tmp_path / "saved")
    checkpoint = load(tmp_path / "saved")
    identity = checkpoint.manifest.identity
    assert identity.image is not None
    assert identity.image.model_dump() == {"channels": 1, "side": 8, "classes": 10}
    assert identity.class_names == tuple("0123456789")
    split = load_split(parsed(TINY), Path())
    assert checkpoint.part("scaling")["mean"].equal(split.scaling.mean)
    assert checkpoint.part("scaling")["std"].equal(split.scaling.std)


def test_a_trial_goes_on_with_the_arithmetic_it_began_with(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probed(pays: bool) -> None:
        monkeypatch.setattr(precision, "bf16_pays", lambda threads: pays)

    probed(True)
    next(train(job(**TINY))).save(tmp_path / "saved")
    assert load(tmp_path / "saved").manifest.identity.precision == "bf16"
    probed(False)
    next(train(job(**TINY, from_step=1, resume=tmp_path / "saved"))).save(tmp_path / "last")
    assert load(tmp_path / "last").manifest.identity.precision == "bf16"


def test_only_a_final_trial_scores_the_test_part_and_only_at_its_end(job: Job) -> None:
    ordinary = list(train(job(**TINY)))
    assert not [name for result in ordinary for name in result.metrics if name.startswith("test_")]
    first, last = train(job(**TINY, final="train"))
    assert not [name for name in first.metrics if name.startswith("test_")]
    assert last.metrics["test_images"] == 269  # 15 % of each class of 1,797 digits
    assert 0 <= last.metrics["test_acc"] <= 1
    # The seal apart, it is the training that it would have been.
    untested = {name: value for name, value in last.metrics.items() if not name.startswith("test_")}
    assert timeless(untested) == timeless(ordinary[-1].metrics)


def test_a_final_trial_may_learn_from_the_validation_images_too(job: Job) -> None:
    entries = {name: value for name, value in TINY.items() if name != "train_images"}
    alone, joined = (list(train(job(**entries, final=final)))[-1] for final in ("train", "train_and_validation"))
    assert alone.metrics["val_loss"] != joined.metrics["val_loss"]


def test_a_final_trial_of_a_study_of_folds_trains_one_network_for_the_epochs_of_a_fold(
    job: Job, tmp_path: Path
) -> None:
    entries = FOLDS | {"fold_epochs": 4, "final": "train_and_validation", "max_resource": 3}
    results = list(train(job(**entries)))
    assert [result.step for result in results] == [1, 2, 3]
    assert "test_acc" in results[-1].metrics
    # Four epochs over three steps: two, one, one.
    assert results[0].metrics["epoch_s"] < results[0].seconds
    assert resumed_after(job, 1, tmp_path, **entries) == [timeless(result.metrics) for result in results]


def test_data_other_than_the_studys_are_refused(job: Job) -> None:
    with pytest.raises(BadData, match="has changed: its split was aaaaaaaaaaaa"):
        next(train(job(**TINY, split_sha256="a" * 64)))


def test_a_checkpoint_of_epochs_is_no_checkpoint_of_folds(job: Job, tmp_path: Path) -> None:
    next(train(job(**FOLDS, final="train", max_resource=3))).save(tmp_path / "saved")
    with pytest.raises(CorruptCheckpoint, match="no folds to go on from"):
        next(train(job(**FOLDS, max_resource=3, from_step=1, resume=tmp_path / "saved")))
