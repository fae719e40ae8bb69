"""Photographs in folders: layouts, decoding, unreadable files, and what is kept of them on disk."""

import io
import os
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import structlog.testing
import torch
from PIL import Image

from models import pixel_store
from models.data import Split, load_split, sealed_test
from models.image_config import ImageCnnConfig
from models.job import BadData, InvalidConfig, Setup
from models.loaded import forget
from models.pixel_store import Fill, on_disk
from models.render import Pixels, photo

from .test_data import as_set, config

FORMATS = {"png": "PNG", "jpg": "JPEG", "bmp": "BMP", "webp": "WEBP", "gif": "GIF", "tif": "TIFF"}


def folder(**entries: object) -> ImageCnnConfig:
    return config(**{"dataset": "image_folder", "data_path": "photos", "image_size": 8, **entries})


def by_class(split: Split) -> list[float]:
    """Mean brightness of each class, over training and validation."""
    rows, labels = torch.cat([split.train.rows, split.val.rows]), torch.cat([split.train.labels, split.val.labels])
    brightness = split.pixels[rows].double().mean(dim=(1, 2, 3))
    return [float(brightness[labels == label].mean()) for label in range(len(split.class_names))]


def in_parts(photos: Path, *, val: int) -> None:
    """Turn CLASS/ into train/CLASS, val/CLASS (the first so many) and test/CLASS (the last two of each)."""
    for kind in sorted(photos.iterdir()):
        files = sorted(kind.iterdir())
        for part, chosen in (("val", files[:val]), ("test", files[-2:]), ("train", files[val:-2])):
            for file in chosen:
                (photos / part / kind.name).mkdir(parents=True, exist_ok=True)
                file.rename(photos / part / kind.name / file.name)
        kind.rmdir()


def spoil(photos: Path, *names: str) -> None:
    for name in names:
        (photos / name).write_bytes(b"\x89PNG\r\n\x1a\n and no more")


def test_classes_are_the_folders_in_the_order_of_their_names(photos: Path, tmp_path: Path) -> None:
    (photos / ".hidden").mkdir()
    (photos / "cat" / "Thumbs.db").write_bytes(b"")
    split = load_split(folder(), tmp_path)
    assert split.class_names == ("cat", "dog", "emu")
    assert (split.image.channels, split.image.side, split.image.classes) == (3, 8, 3)
    assert [len(part.rows) for part in (split.train, split.val)] == [42, 9]
    assert len(sealed_test(folder(), tmp_path).images.labels) == 9
    assert by_class(split) == pytest.approx([19.5, 99.5, 179.5], abs=2)


def test_a_set_may_bring_its_own_test_part(photos: Path, tmp_path: Path) -> None:
    in_parts(photos, val=0)
    split, sealed = load_split(folder(), tmp_path), sealed_test(folder(), tmp_path)
    assert [len(part) for part in (split.train.rows, split.val.rows, sealed.images.labels)] == [42, 12, 6]
    assert sealed.images.labels.bincount().tolist() == [2, 2, 2]


def test_a_set_may_bring_its_own_validation_part(photos: Path, tmp_path: Path) -> None:
    in_parts(photos, val=3)
    wanted = {photo(file, 8).tobytes() for file in (photos / "val").glob("*/*")}  # type: ignore[union-attr]
    split = load_split(folder(), tmp_path)
    assert as_set(split.pixels[split.val.rows]) == wanted
    assert split.val.labels.bincount().tolist() == [3, 3, 3]
    assert len(split.train.rows) == 45
    with pytest.raises(InvalidConfig, match=r"got 0.3, but the set has a validation part of its own") as caught:
        load_split(folder(val_fraction=0.3), tmp_path)
    assert caught.value.field == "val_fraction"


def test_the_hash_is_of_the_files_and_not_of_their_size_in_pixels(photos: Path, tmp_path: Path) -> None:
    first = load_split(folder(), tmp_path).sha256
    assert load_split(folder(image_size=12, train_fraction=0.5), tmp_path).sha256 == first
    assert load_split(folder(split_seed=1), tmp_path).sha256 != first
    shutil.move(photos, tmp_path / "moved")
    assert load_split(folder(data_path="moved"), tmp_path).sha256 == first
    (tmp_path / "moved" / "cat" / "00.png").rename(tmp_path / "moved" / "cat" / "a.png")
    assert load_split(folder(data_path="moved"), tmp_path).sha256 != first


def test_the_usual_size_is_224(photos: Path, tmp_path: Path) -> None:
    assert load_split(folder(image_size=None), tmp_path).pixels.shape == (51, 3, 224, 224)


def test_the_square_in_the_middle_is_scaled(tmp_path: Path) -> None:
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:30] = 100
    pixels[:, 30:40] = 200
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    seen = photo(tmp_path / "wide.png", 10)
    assert seen is not None
    assert seen.shape == (3, 10, 10)
    assert (seen[:, :, 1:4] == 100).all()  # beside these, two grey levels are mixed
    assert (seen[:, :, 6:9] == 200).all()


def test_an_image_is_turned_as_its_exif_orientation_says(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    seen = photo(tmp_path / "turned.png", 8)
    assert seen is not None
    assert (seen.transpose(1, 2, 0) == np.rot90(pixels, -1)).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_kind_of_pixel_becomes_three_bytes(tmp_path: Path, mode: str) -> None:
    level = 255 if mode == "1" else 204  # white, and a grey that is in the usual palette
    if mode in ("I;16", "I"):
        image = Image.fromarray(np.full((8, 8), level * 257, np.uint16 if mode == "I;16" else np.int32))
    else:
        image = Image.new("RGB", (8, 8), (level, level, level))
        image = (image.convert("L") if mode == "LA" else image).convert(mode)
    path = tmp_path / ("image.tif" if mode in ("CMYK", "F", "I", "PA") else "image.png")
    image.save(path)
    seen = photo(path, 8)
    assert seen is not None
    assert (seen.dtype, seen.shape) == (np.uint8, (3, 8, 8))
    assert np.abs(seen.astype(int) - level).max() <= 1


def test_a_palette_with_transparency_is_read(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8))
    image.putpalette([7, 8, 9] * 256)
    image.save(tmp_path / "image.png", transparency=bytes([0, 128, 255]))
    seen = photo(tmp_path / "image.png", 8)
    assert seen is not None
    assert seen[:, 0, 0].tolist() == [7, 8, 9]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::RuntimeWarning:PIL")
@pytest.mark.parametrize("suffix", FORMATS)
def test_altered_bytes_give_an_image_or_none_and_never_an_error(tmp_path: Path, suffix: str) -> None:
    draw = np.random.default_rng(0)
    file = io.BytesIO()
    Image.fromarray(draw.integers(0, 256, (24, 24, 3)).astype(np.uint8)).save(file, FORMATS[suffix])
    path, content, unreadable = tmp_path / f"image.{suffix}", file.getvalue(), 0
    for _ in range(60):
        torn = bytearray(content)
        torn[int(draw.integers(min(len(torn), 200)))] ^= 1 << int(draw.integers(8))
        path.write_bytes(torn if draw.integers(2) else torn[: int(draw.integers(len(torn)))])
        seen = photo(path, 8)
        unreadable += seen is None
        assert seen is None or seen.shape == (3, 8, 8)
    assert unreadable > 0


def test_unreadable_images_are_left_out_and_named(photos: Path, tmp_path: Path) -> None:
    sound = load_split(folder(), tmp_path)
    learned = sorted(as_names(sound, photos))
    spoil(photos, *learned[:2])
    with structlog.testing.capture_logs() as logs:
        split = load_split(folder(max_corrupt=0.05), tmp_path)
    assert sorted(split.corrupt) == learned[:2]
    assert [(entry["event"], entry["count"]) for entry in logs] == [("unreadable_images", 2)]
    assert len(split.train.rows) + len(split.val.rows) == 49
    assert int(split.pixels[torch.cat([split.train.rows, split.val.rows])].amax(dim=(1, 2, 3)).min()) > 0
    assert sound.corrupt == ()


def as_names(split: Split, photos: Path) -> set[str]:
    """The files that are in training or validation."""
    seen = as_set(split.pixels)
    files = sorted(photos.glob("*/*"))
    return {str(file.relative_to(photos)) for file in files if photo(file, 8).tobytes() in seen}  # type: ignore[union-attr]


def test_more_unreadable_images_than_allowed_are_bad_data(photos: Path, tmp_path: Path) -> None:
    learned = sorted(as_names(load_split(folder(), tmp_path), photos))
    spoil(photos, *learned[:8])
    message = rf"photos: 8 of 51 image files .* a share of 0.1: {learned[0]}, .*{learned[4]}, …$"
    with pytest.raises(BadData, match=message):
        load_split(folder(max_corrupt=0.1), tmp_path)


def test_a_part_without_a_readable_image_is_bad_data(photos: Path, tmp_path: Path) -> None:
    in_parts(photos, val=1)
    spoil(photos, "val/cat/00.png", "val/dog/00.png", "val/emu/00.png")
    with pytest.raises(BadData, match="photos: no readable image is left of the validation part"):
        load_split(folder(max_corrupt=0.5), tmp_path)


def test_an_unreadable_test_image_is_no_matter_for_a_trial(photos: Path, tmp_path: Path) -> None:
    in_parts(photos, val=0)
    spoil(photos, "test/cat/18.png")
    assert load_split(folder(), tmp_path).corrupt == ()
    with pytest.raises(BadData, match=r"1 of 6 image files .*test/cat/18.png"):
        sealed_test(folder(), tmp_path)
    assert len(sealed_test(folder(max_corrupt=0.2), tmp_path).images.labels) == 5


def test_decoded_images_are_kept_for_the_next_process(photos: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = load_split(folder(), tmp_path, cache_root=cache)
    for file in photos.glob("*/*"):  # other content of the same size and time: whoever reads it again gets nothing
        status = file.stat()
        file.write_bytes(b"x" * status.st_size)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    forget()
    again = load_split(folder(), tmp_path, cache_root=cache)
    assert torch.equal(again.pixels, first.pixels)
    assert (again.sha256, again.resident) == (first.sha256, True)
    assert torch.equal(again.scaling.std, first.scaling.std)
    assert not list(cache.glob("*.tmp"))


def test_what_is_kept_is_as_what_is_decoded_and_names_the_unreadable(photos: Path, tmp_path: Path) -> None:
    spoil(photos, "dog/03.png", "dog/04.png")
    wanted = load_split(folder(max_corrupt=0.5), tmp_path)
    for _ in range(2):  # made, then found
        forget()
        kept = load_split(folder(max_corrupt=0.5), tmp_path, cache_root=tmp_path / "cache")
        assert torch.equal(kept.pixels, wanted.pixels)
        assert (kept.corrupt, kept.sha256) == (wanted.corrupt, wanted.sha256)


def test_a_new_file_is_seen(photos: Path, tmp_path: Path) -> None:
    first = load_split(folder(), tmp_path, cache_root=tmp_path / "cache")
    shutil.copy(photos / "cat" / "00.png", photos / "cat" / "20.png")
    second = load_split(folder(), tmp_path, cache_root=tmp_path / "cache")
    assert (len(first.pixels), len(second.pixels)) == (51, 52)
    assert first.sha256 != second.sha256


def test_a_set_too_large_for_memory_stays_on_disk(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, sealed = load_split(folder(), tmp_path), sealed_test(folder(), tmp_path)
    monkeypatch.setattr(pixel_store, "RESIDENT_BYTES", 100)
    forget()
    split = load_split(folder(), tmp_path, cache_root=tmp_path / "cache")
    assert (wanted.resident, split.resident) == (True, False)
    assert torch.equal(split.pixels, wanted.pixels)
    assert torch.equal(split.scaling.mean, wanted.scaling.mean)
    on_file = sealed_test(folder(), tmp_path, cache_root=tmp_path / "cache")
    assert torch.equal(on_file.images.pixels, sealed.images.pixels)
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == ["", ".lock", ".sha256"]  # no test part


def filled_with(value: int) -> Fill:
    def fill(pixels: Pixels) -> tuple[int, ...]:
        pixels[:] = value
        return (value,)

    return fill


def test_a_process_waits_for_the_one_that_decodes_already(tmp_path: Path) -> None:
    begun, waited = Event(), Event()

    def slow(pixels: Pixels) -> tuple[int, ...]:
        begun.set()
        assert waited.wait(30)
        return filled_with(1)(pixels)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(on_disk, tmp_path, "key", (3, 1, 4, 4), slow, waiting=never)
        assert begun.wait(30)
        second = on_disk(tmp_path, "key", (3, 1, 4, 4), filled_with(2), waiting=waited.set)
        assert first.result().pixels.unique().tolist() == second.pixels.unique().tolist() == [1]


def test_of_two_machines_that_decode_at_once_the_first_wins(tmp_path: Path) -> None:
    def slow(pixels: Pixels) -> tuple[int, ...]:
        on_disk(tmp_path / "other", "key", (3, 1, 4, 4), filled_with(2), waiting=never)
        (tmp_path / "other" / "key").rename(tmp_path / "cache" / "key")
        return filled_with(1)(pixels)

    rendered = on_disk(tmp_path / "cache", "key", (3, 1, 4, 4), slow, waiting=never)
    assert rendered.pixels.unique().tolist() == [2]
    assert rendered.unreadable == (2,)
    assert not list((tmp_path / "cache").glob("*.tmp"))


def test_a_decoding_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def fill(pixels: Pixels) -> tuple[int, ...]:
        pixels[0] = 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_disk(tmp_path, "key", (3, 1, 4, 4), fill, waiting=never)
    assert [path.name for path in tmp_path.iterdir()] == ["key.lock"]


def test_what_a_killed_process_left_behind_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / f"key.{socket.gethostname()}.abc.tmp"
    left.mkdir()
    (left / "pixels.npy").write_bytes(b"half")
    on_disk(tmp_path, "key", (3, 1, 4, 4), filled_with(1), waiting=never)
    assert not left.exists()


def never() -> None:
    raise AssertionError("nobody else is at it")


def test_a_cache_that_cannot_be_written_is_named(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(BadData, match="cache cannot be written"):
        load_split(folder(), tmp_path, cache_root=tmp_path / "cache")


def test_a_watcher_hears_how_many_images_are_done(photos: Path, tmp_path: Path) -> None:
    class Listener:
        def __init__(self) -> None:
            self.told: list[tuple[int, int]] = []

        def progress(self, done: int, total: int) -> None:
            self.told.append((done, total))

        def started(self, setup: Setup) -> None:
            raise AssertionError("nothing is trained here")

    listener = Listener()
    load_split(folder(), tmp_path, watcher=listener)
    assert {total for _, total in listener.told} == {51, 60}  # decoded are those of training and validation, hashed all
    assert listener.told[-1] == (51, 51)


@pytest.mark.parametrize("link", ["photos", "photos/cat", "photos/cat/00.png"])
def test_a_link_that_leads_out_of_the_data_root_is_not_followed(
    photos: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, link: str
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "moved"
    (tmp_path / link).rename(outside)
    (tmp_path / link).symlink_to(outside)
    with pytest.raises(BadData, match=f"{link} leads out of the data root"):
        load_split(folder(), tmp_path)


def test_a_link_within_the_data_root_is_followed(photos: Path, tmp_path: Path) -> None:
    photos.rename(tmp_path / "elsewhere")
    photos.symlink_to(tmp_path / "elsewhere")
    assert len(load_split(folder(), tmp_path).pixels) == 51


def test_what_is_no_file_is_no_image(photos: Path, tmp_path: Path) -> None:
    (photos / "cat" / "album.png").mkdir()
    os.mkfifo(photos / "cat" / "pipe.png")  # whoever opened it would wait for ever
    assert len(load_split(folder(), tmp_path).pixels) == 51
    (photos / "cat" / "gone.png").symlink_to(photos / "nowhere.png")
    with pytest.raises(BadData, match=r"photos/cat/gone.png is a link to nothing"):
        load_split(folder(), tmp_path)


def test_folders_of_no_use_are_refused(photos: Path, tmp_path: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(BadData, match=message):
            load_split(folder(), tmp_path)

    for file in sorted((photos / "dog").iterdir())[9:]:
        file.unlink()
    refused("photos/dog has 9 images, want at least 10")
    for file in (photos / "dog").iterdir():
        file.unlink()
    refused("photos/dog holds no image: want .bmp, .gif")
    shutil.rmtree(photos / "dog")
    shutil.rmtree(photos / "emu")
    refused("photos has 1 folders of images, want one per class and two classes or more")
    shutil.rmtree(photos / "cat")
    refused("photos has 0 folders")
    photos.rmdir()
    refused(f"no folder of images at {photos}")


def test_parts_that_do_not_fit_together_are_refused(photos: Path, tmp_path: Path) -> None:
    in_parts(photos, val=1)
    shutil.copytree(photos / "test" / "cat", photos / "test" / "cow")
    with pytest.raises(BadData, match="photos/test/cow is of a class that train/ does not have"):
        load_split(folder(), tmp_path)
    shutil.rmtree(photos / "test" / "cow")
    shutil.rmtree(photos / "test" / "cat")
    with pytest.raises(BadData, match="photos/test/cat has 0 images, want at least 1"):
        load_split(folder(), tmp_path)
    (photos / "more").mkdir()
    with pytest.raises(BadData, match="photos has train/ and also more, want only train, val, test"):
        load_split(folder(), tmp_path)


def test_photographs_too_small_for_the_network_are_refused_by_field(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="needs images of 6 px, image_size is 5") as caught:
        load_split(folder(image_size=5), tmp_path)
    assert caught.value.field == "image_size"
