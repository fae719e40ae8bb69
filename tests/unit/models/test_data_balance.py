"""Fraction, balance, class weights and folds, on digits and on a set with rare classes."""

import math
from pathlib import Path

import numpy as np
import pytest
import structlog.testing
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from models.balance import class_weights
from models.data import Split, load_split
from models.job import InvalidConfig

from .test_data import config

COUNTS = (200, 100, 25, 13)  # images per class; a fifth of each is validation
NAMES = ("a", "b", "c", "d")


@pytest.fixture
def rare(tmp_path: Path) -> Path:
    """``rare.npz`` in the data root: 4 classes of 200, 100, 25 and 13 images, and a test part of 10 each."""
    labels = np.repeat(np.arange(4), COUNTS)
    draw = np.random.default_rng(0)
    test_labels = np.repeat(np.arange(4), 10)
    arrays = {"images": draw.integers(0, 256, (len(labels), 8, 8)).astype(np.uint8), "labels": labels}
    test = {"test_images": np.zeros((40, 8, 8), np.uint8), "test_labels": test_labels}
    np.savez(tmp_path / "rare.npz", **arrays, **test, class_names=np.array(NAMES))
    return tmp_path


def rare_split(root: Path, *, join_validation: bool = False, **entries: object) -> Split:
    chosen = config(dataset="npz", data_path="rare.npz", **entries)
    return load_split(chosen, root, join_validation=join_validation)


def counts(split: Split) -> list[int]:
    result: list[int] = split.train.labels.bincount(minlength=4).tolist()
    return result


def as_rows(rows: Tensor) -> set[int]:
    return set(rows.tolist())


def test_a_smaller_fraction_of_each_class_is_a_subset_of_a_larger(rare: Path) -> None:
    few, half, whole = (rare_split(rare, train_fraction=fraction) for fraction in (0.01, 0.5, 1.0))
    assert counts(few) == [2, 1, 1, 1]
    assert counts(half) == [80, 40, 10, 5]
    assert counts(whole) == [160, 80, 20, 10]
    assert as_rows(few.train.rows) < as_rows(half.train.rows) < as_rows(whole.train.rows)
    assert few.sha256 == half.sha256 == whole.sha256
    assert torch.equal(few.val.rows, whole.val.rows)
    assert torch.equal(few.scaling.mean, whole.scaling.mean)


def test_a_balanced_subset_has_as_many_of_each_class_as_the_rarest(rare: Path) -> None:
    subset = rare_split(rare, balance="subset")
    assert counts(subset) == [10, 10, 10, 10]
    assert as_rows(subset.train.rows) < as_rows(rare_split(rare).train.rows)
    assert counts(rare_split(rare, balance="subset", train_fraction=0.5)) == [5, 5, 5, 5]


def test_oversampling_draws_rare_images_again_and_all_of_them_as_often(rare: Path) -> None:
    over = rare_split(rare, balance="oversample")
    assert counts(over) == [160, 160, 160, 160]
    assert as_rows(over.train.rows) == as_rows(rare_split(rare).train.rows)
    uses = over.train.rows.bincount()
    for label, often in enumerate((1, 2, 8, 16)):
        of_class = over.train.rows[over.train.labels == label]
        assert set(uses[of_class].tolist()) == {often}
    assert torch.equal(over.train.rows, rare_split(rare, balance="oversample").train.rows)


def test_oversampling_a_class_that_does_not_divide_uses_no_image_twice_more_than_another(rare: Path) -> None:
    over = rare_split(rare, balance="oversample", train_fraction=0.89)  # 142, 71, 18 and 9
    uses = over.train.rows.bincount()
    for label in range(4):
        often = uses[over.train.rows[over.train.labels == label]]
        assert often.max() - often.min() <= 1
    assert counts(over) == [142] * 4


def test_rows_and_labels_stay_together(rare: Path) -> None:
    with np.load(rare / "rare.npz") as arrays:
        label_of = {image.tobytes(): label for image, label in zip(arrays["images"], arrays["labels"], strict=True)}
    split = rare_split(rare, balance="oversample")
    for part in (split.train, split.val):
        found = [label_of[image.numpy().tobytes()] for image in split.pixels[part.rows]]
        assert found == part.labels.tolist()


def test_inverse_weights_are_those_of_scikit_learn(rare: Path) -> None:
    for entries in ({}, {"train_fraction": 0.3}):
        split = rare_split(rare, class_weights="inverse", **entries)
        wanted = compute_class_weight("balanced", classes=np.arange(4), y=split.train.labels.numpy())
        assert split.class_weights is not None
        assert np.abs(split.class_weights.numpy() - wanted).max() < 1e-6


def test_log_weights_are_those_of_the_paper(rare: Path) -> None:
    split = rare_split(rare, class_weights="log")
    assert split.class_weights is not None
    wanted = [1, math.log(270 / 80), math.log(270 / 20), math.log(270 / 10)]
    assert np.abs(split.class_weights.numpy() - wanted).max() < 1e-6


def test_weights_count_the_rows_that_are_used(rare: Path) -> None:
    for balance in ("subset", "oversample"):
        for weights in ("log", "inverse"):
            split = rare_split(rare, class_weights=weights, balance=balance)
            assert split.class_weights is not None
            assert split.class_weights.tolist() == [1, 1, 1, 1]
    assert rare_split(rare).class_weights is None


def test_a_log_weight_below_one_is_warned_about() -> None:
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor([50, 45, 5]))
    with structlog.testing.capture_logs() as logs:
        weights = class_weights(config(class_weights="log"), labels, ("x", "y", "z"))
    assert weights is not None
    assert weights[1] < 1
    assert [(entry["log_level"], entry["classes"]) for entry in logs] == [("warning", ["y"])]


def test_a_class_without_an_image_cannot_be_weighed() -> None:
    with pytest.raises(InvalidConfig, match="got 'log', but no training image of 'y' is used") as caught:
        class_weights(config(class_weights="log"), torch.tensor([0, 2, 2]), ("x", "y", "z"))
    assert caught.value.field == "class_weights"


def test_every_image_is_in_the_validation_part_of_one_fold(rare: Path) -> None:
    folds = [load_split(config(dataset="npz", data_path="rare.npz", folds=5), rare, fold=k) for k in range(1, 6)]
    seen = torch.cat([fold.val.rows for fold in folds])
    assert torch.equal(seen.sort().values, torch.arange(sum(COUNTS)))
    whole = torch.tensor(COUNTS)
    for fold in folds:
        assert not as_rows(fold.train.rows) & as_rows(fold.val.rows)
        assert len(fold.train.rows) + len(fold.val.rows) == sum(COUNTS)
        assert (fold.val.labels.bincount(minlength=4) - whole / 5).abs().max() < 1
        pixels = fold.pixels[fold.train.rows].double()
        assert torch.allclose(fold.scaling.mean.double(), pixels.mean(dim=(0, 2, 3), keepdim=True))
    assert len({fold.sha256 for fold in folds} | {rare_split(rare).sha256}) == 1


def test_folds_follow_the_split_seed_and_know_fractions(rare: Path) -> None:
    def fold(**entries: object) -> Split:
        return load_split(config(dataset="npz", data_path="rare.npz", folds=2, **entries), rare, fold=1)

    assert as_rows(fold().val.rows) == as_rows(fold().val.rows) != as_rows(fold(split_seed=1).val.rows)
    assert as_rows(fold(train_fraction=0.5).train.rows) < as_rows(fold().train.rows)


def test_more_folds_than_a_class_has_images_are_refused(rare: Path) -> None:
    with pytest.raises(InvalidConfig, match="got 14, but class 'd' has 13 images") as caught:
        load_split(config(dataset="npz", data_path="rare.npz", folds=14), rare, fold=1)
    assert caught.value.field == "folds"


@pytest.mark.parametrize(("folds", "fold"), [(None, 1), (3, 0), (3, 4)])
def test_a_fold_that_there_is_not_is_the_callers_mistake(rare: Path, folds: int | None, fold: int) -> None:
    with pytest.raises(ValueError, match=f"want a fold in 1 to {folds}, got {fold}"):
        load_split(config(dataset="npz", data_path="rare.npz", folds=folds), rare, fold=fold)


def test_joined_validation_is_trained_on_and_nothing_else_changes(rare: Path) -> None:
    apart, joined = rare_split(rare), rare_split(rare, join_validation=True)
    assert as_rows(joined.train.rows) == as_rows(apart.train.rows) | as_rows(apart.val.rows)
    assert torch.equal(joined.val.rows, apart.val.rows)
    assert torch.equal(joined.scaling.mean, apart.scaling.mean)
    assert joined.sha256 == apart.sha256
