"""What every checkpoint store promises, run on each of them; and what the file system's adds."""

import errno
import hashlib
import io
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from hpo.checkpoints.base import MAX_MANIFEST_BYTES, CheckpointStore, StoreUnwritable
from hpo.checkpoints.filesystem import FilesystemStore, manifest_of
from hpo.domain.errors import NotFound

STUDY, LEASE = uuid4(), uuid4()


@pytest.fixture
def files(tmp_path: Path) -> FilesystemStore:
    return FilesystemStore(tmp_path / "store")


@pytest.fixture(params=["filesystem"])
def store(request: pytest.FixtureRequest, files: FilesystemStore) -> CheckpointStore:
    return {"filesystem": files}[request.param]


def put(store: CheckpointStore, data: bytes = b"weights", *, lease: UUID = LEASE, step: int = 3) -> str:
    return store.put(STUDY, 7, lease, step=step, stream=io.BytesIO(data)).sha256


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, (1 << 20) + 1])
def test_what_was_put_is_what_is_opened(store: CheckpointStore, size: int) -> None:
    data = os.urandom(size)
    stored = store.put(STUDY, 7, LEASE, step=3, stream=io.BytesIO(data))
    with store.open(STUDY, 7, LEASE, step=3) as file:
        assert file.read() == data
    assert (stored.sha256, stored.size_bytes, stored.step) == (hashlib.sha256(data).hexdigest(), size, 3)


def test_a_second_put_replaces_the_first(store: CheckpointStore) -> None:
    put(store, b"old")
    put(store, b"new")
    with store.open(STUDY, 7, LEASE, step=3) as file:
        assert file.read() == b"new"


def test_two_leases_of_a_trial_never_share_a_file(store: CheckpointStore) -> None:
    put(store, b"mine")
    put(store, b"a zombie's", lease=uuid4())
    with store.open(STUDY, 7, LEASE, step=3) as file:
        assert file.read() == b"mine"


def test_what_is_not_there_cannot_be_opened(store: CheckpointStore) -> None:
    with pytest.raises(NotFound, match="step-3"):
        store.open(STUDY, 7, LEASE, step=3)


def test_a_checkpoint_that_was_put_has_a_manifest_with_its_hash(store: CheckpointStore) -> None:
    sha256 = put(store)
    assert json.loads(store.manifest(STUDY, 7, LEASE, step=3))["sha256"] == sha256
    with pytest.raises(NotFound, match="step-4"):
        store.manifest(STUDY, 7, LEASE, step=4)


def test_a_deleted_checkpoint_is_gone_and_its_neighbour_is_not(store: CheckpointStore) -> None:
    put(store, step=3)
    put(store, step=4)
    store.delete(STUDY, 7, LEASE, step=3)
    store.delete(STUDY, 7, LEASE, step=3)
    with pytest.raises(NotFound):
        store.open(STUDY, 7, LEASE, step=3)
    store.open(STUDY, 7, LEASE, step=4).close()


class BrokenStream(io.RawIOBase):
    """A body that ends in a lost connection."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        raise OSError(errno.ECONNRESET, "Connection reset by peer")


def test_a_deleted_trial_leaves_nothing_and_its_neighbour_all(store: CheckpointStore) -> None:
    put(store)
    put(store, lease=uuid4(), step=9)
    store.put(STUDY, 8, LEASE, step=1, stream=io.BytesIO(b"another"))
    for _ in range(2):
        store.delete_trial(STUDY, 7)
    with pytest.raises(NotFound):
        store.open(STUDY, 7, LEASE, step=3)
    with store.open(STUDY, 8, LEASE, step=1) as file:
        assert file.read() == b"another"


def test_the_last_trial_that_is_deleted_takes_its_studys_directory_along(files: FilesystemStore) -> None:
    put(files)
    (files.root / str(STUDY) / "7" / "half-written.tmp").write_bytes(b"x")  # what no row names goes, too
    files.delete_trial(STUDY, 7)
    assert list(files.root.iterdir()) == []


def test_a_body_that_breaks_off_stores_nothing(store: CheckpointStore) -> None:
    put(store, b"before")
    with pytest.raises(StoreUnwritable):
        store.put(STUDY, 7, LEASE, step=3, stream=io.BufferedReader(BrokenStream()))
    with store.open(STUDY, 7, LEASE, step=3) as file:
        assert file.read() == b"before"


# -- of the file system only


def all_files(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*"))


def test_the_path_is_made_of_ids_alone(files: FilesystemStore) -> None:
    path = files.path(STUDY, 7, LEASE, 3)
    assert path == files.root / str(STUDY) / "7" / str(LEASE) / "step-3.safetensors"


def test_nobody_else_may_look_into_the_store(files: FilesystemStore) -> None:
    put(files)
    for path in (files.root, *files.root.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_deleting_the_last_checkpoint_leaves_nothing_behind(files: FilesystemStore) -> None:
    put(files)
    assert manifest_of(files.path(STUDY, 7, LEASE, 3)).exists()
    files.delete(STUDY, 7, LEASE, step=3)
    assert all_files(files.root) == []


@pytest.mark.parametrize("failing", ["fsync", "rename"])
def test_a_full_disk_leaves_no_half_written_file_and_says_so(
    files: FilesystemStore, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    put(files, b"before")
    before = all_files(files.root)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync", full) if failing == "fsync" else (Path, "rename", full)))
    with pytest.raises(StoreUnwritable, match="No space left on device"):
        put(files, b"after")
    monkeypatch.undo()
    assert all_files(files.root) == before
    with files.open(STUDY, 7, LEASE, step=3) as file:
        assert file.read() == b"before"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink, lambda path: (path.unlink(), path.mkdir())])
def test_only_the_very_bytes_that_were_reported_are_valid(
    files: FilesystemStore, damage: Callable[[Path], object]
) -> None:
    sha256, path = put(files), files.path(STUDY, 7, LEASE, 3)
    assert files.verify(path, sha256)
    damage(path)
    assert not files.verify(path, sha256)


def test_a_link_in_the_store_is_not_followed(files: FilesystemStore, tmp_path: Path) -> None:
    put(files)
    secret, path = tmp_path / "secret", files.path(STUDY, 7, LEASE, 3)
    secret.write_text("elsewhere")
    path.unlink()
    path.symlink_to(secret)
    with pytest.raises(NotFound):
        files.open(STUDY, 7, LEASE, step=3)


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b" " * (MAX_MANIFEST_BYTES + 1)), Path.unlink])
def test_what_is_too_large_or_missing_is_no_manifest(files: FilesystemStore, damage: Callable[[Path], object]) -> None:
    put(files)
    damage(manifest_of(files.path(STUDY, 7, LEASE, 3)))
    with pytest.raises(NotFound):
        files.manifest(STUDY, 7, LEASE, step=3)


def test_the_directory_of_a_lease_can_be_prepared_twice(files: FilesystemStore) -> None:
    directory = files.prepare(STUDY, 7, LEASE)
    assert files.prepare(STUDY, 7, LEASE) == directory == files.path(STUDY, 7, LEASE, 3).parent
    files.settle(directory)
