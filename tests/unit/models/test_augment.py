"""Augmentation: what may change in a picture, what may not, and that a seed decides."""

import pytest
import torch
from torch import Tensor

from models.augment import POLICIES, crop_flip, mixer, paper_affine


def pictures(count: int = 64, side: int = 8, channels: int = 3) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, channels, side, side), generator=draw, dtype=torch.uint8)


def altered(name: str, batch: Tensor, seed: int = 0) -> Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return POLICIES[name](batch)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_policy_keeps_shape_and_type_and_follows_from_the_seed(name: str, channels: int) -> None:
    batch = pictures(channels=channels)
    before = batch.clone()
    result = altered(name, batch)
    assert (result.shape, result.dtype) == (batch.shape, torch.uint8)
    assert torch.equal(result, altered(name, batch))
    assert torch.equal(batch, before)
    if name != "none":
        assert not torch.equal(result, altered(name, batch, seed=1))


def test_a_shifted_and_mirrored_picture_is_made_of_its_own_rows_and_columns() -> None:
    batch = pictures(side=16)
    result = altered("crop_flip", batch)
    padded = torch.nn.functional.pad(batch.float(), (2, 2, 2, 2), mode="reflect").to(torch.uint8)
    kinds = set()
    for image, source in zip(result, padded, strict=True):
        shifts = [
            (down, right, flip)
            for down in range(5)
            for right in range(5)
            for flip in (False, True)
            if torch.equal(image, _view(source, down, right, flip))
        ]
        assert shifts
        kinds |= set(shifts)
    assert len(kinds) > 20  # chance uses all that it may


def _view(source: Tensor, down: int, right: int, flip: bool) -> Tensor:
    view = source[:, down : down + 16, right : right + 16]
    return view.flip(2) if flip else view


def test_a_picture_of_one_pixel_can_be_shifted() -> None:
    batch = pictures(side=1)
    assert torch.equal(altered("crop_flip", batch), batch)


def test_the_papers_policy_leaves_one_picture_in_four_as_it_is() -> None:
    batch = pictures(count=2000, side=8)
    same = (altered("paper_affine", batch) == batch).flatten(1).all(1)
    assert float(same.float().mean()) == pytest.approx(0.25, abs=0.04)


def test_the_papers_policy_flips_upside_down_and_never_left_to_right() -> None:
    """A picture with one bright quarter: it stays left, and half of the altered ones have it below."""
    batch = torch.zeros(1000, 1, 16, 16, dtype=torch.uint8)
    batch[:, :, 1:7, 1:7] = 255
    result = altered("paper_affine", batch).float()
    left, right = result[..., :8].mean((1, 2, 3)), result[..., 8:].mean((1, 2, 3))
    assert bool((left > right).all())
    below = result[:, :, 8:].mean((1, 2, 3)) > result[:, :, :8].mean((1, 2, 3))
    assert float(below.float().mean()) == pytest.approx(0.375, abs=0.05)


def test_the_papers_policy_turns_and_zooms_no_further_than_it_says() -> None:
    """The corner of a centred square of half-side 8 px moves by turning 10 degrees and zooming 10 % at most."""
    batch = torch.zeros(500, 1, 48, 48, dtype=torch.uint8)
    batch[:, :, 16:32, 16:32] = 255
    covered = altered("paper_affine", batch).float().sum((1, 2, 3)) / 255
    # Bilinear sampling keeps the area, which zooming changes by its square.
    assert float(covered.min()) >= 256 * 0.9**2 * 0.97
    assert float(covered.max()) <= 256 * 1.1**2 * 1.03
    reach = altered("paper_affine", batch)[:, 0].amax(0)
    assert not reach[:12].any()
    assert not reach[:, :12].any()


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixed_labels_are_shares_of_two_classes(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        images, shares = mixer(name, 10, 0.2)(pictures(32).float(), torch.arange(32) % 10)
    assert images.shape == (32, 3, 8, 8)
    assert shares.shape == (32, 10)
    torch.testing.assert_close(shares.sum(1), torch.ones(32))
    assert int((shares > 0).sum(1).max()) == 2


def test_policies_work_where_nothing_can_be_shared() -> None:
    assert paper_affine(pictures(count=1)).shape == crop_flip(pictures(count=1)).shape
