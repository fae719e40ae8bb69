"""Checkpoints in a directory that all workers share: ``<root>/<study>/<number>/<lease>/step-<n>.safetensors``.

Paths are built from ids alone. A file appears under its name only when all of it is on disk (temp, fsync, rename,
fsync of the directory), so that a crash or a full disk leaves the previous checkpoint and never a torn one.
"""

import hashlib
import io
import json
import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from hpo.checkpoints.base import MAX_MANIFEST_BYTES, StoredFile, StoreUnwritable, file_name
from hpo.domain.errors import NotFound

_CHUNK_BYTES = 1 << 20


def manifest_of(checkpoint: Path) -> Path:
    """Where the manifest of a checkpoint file lies."""
    return checkpoint.with_name(checkpoint.name + ".json")


@dataclass(frozen=True, slots=True)
class FilesystemStore:
    """A store below ``root``, which is made when it is first written to."""

    root: Path

    def path(self, study: UUID, number: int, lease: UUID, step: int) -> Path:
        return self._directory(study, number, lease) / file_name(step)

    def prepare(self, study: UUID, number: int, lease: UUID) -> Path:
        """The directory of a lease, made if need be; ``settle`` makes it last through a power cut."""
        directory = self._directory(study, number, lease)
        for path in (self.root, directory.parent.parent, directory.parent, directory):
            _make(path)
        return directory

    def settle(self, directory: Path) -> None:
        """Write the entries of ``directory`` and its parents below the root to disk."""
        for parent in (directory.parent, directory.parent.parent, self.root):
            _sync_directory(parent)

    def put(self, study: UUID, number: int, lease: UUID, *, step: int, stream: BinaryIO) -> StoredFile:
        """Store the rest of ``stream`` with its manifest; raises StoreUnwritable and then leaves nothing behind."""
        path = self.path(study, number, lease, step)
        try:
            directory = self.prepare(study, number, lease)
            sha256, size_bytes = _write_whole(path, stream)
            manifest = json.dumps({"step": step, "sha256": sha256, "size_bytes": size_bytes})
            _write_whole(manifest_of(path), io.BytesIO(manifest.encode()))
            _sync_directory(directory)
            self.settle(directory)
        except OSError as error:
            raise StoreUnwritable(f"cannot store {path}: {error.strerror or error}") from error
        return StoredFile(path, step, sha256, size_bytes)

    def open(self, study: UUID, number: int, lease: UUID, *, step: int) -> BinaryIO:
        """The checkpoint's bytes; raises NotFound."""
        return _open(self.path(study, number, lease, step), "checkpoint")

    def manifest(self, study: UUID, number: int, lease: UUID, *, step: int) -> bytes:
        """What stands beside the checkpoint, at most MAX_MANIFEST_BYTES; raises NotFound."""
        path = manifest_of(self.path(study, number, lease, step))
        with _open(path, "manifest") as file:
            content = file.read(MAX_MANIFEST_BYTES + 1)
        if len(content) > MAX_MANIFEST_BYTES:
            raise NotFound(f"{path} is no manifest: it has more than {MAX_MANIFEST_BYTES} bytes")
        return content

    def verify(self, path: Path, sha256: str) -> bool:
        """Whether ``path`` is there, readable, and has exactly the bytes that were reported."""
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == sha256
        except OSError:
            return False  # an unreadable checkpoint is as good as none: the answer is the previous one

    def delete(self, study: UUID, number: int, lease: UUID, *, step: int) -> None:
        """Remove the checkpoint and its manifest if they are there, and the directories that this leaves empty."""
        path = self.path(study, number, lease, step)
        path.unlink(missing_ok=True)
        manifest_of(path).unlink(missing_ok=True)
        for directory in (path.parent, path.parent.parent, path.parent.parent.parent):
            try:
                directory.rmdir()
            except OSError:
                return  # not empty: other attempts or trials still keep something there

    def delete_trial(self, study: UUID, number: int) -> None:
        """Remove all that a trial has in the store, and the study's directory when nothing is left in it."""
        directory = self.root / str(UUID(str(study))) / str(int(number))
        while directory.exists():
            try:
                shutil.rmtree(directory)  # follows no link
            except FileNotFoundError:
                continue  # another process removes it, too
        with suppress(OSError):  # other trials still keep something there, or it was never made
            directory.parent.rmdir()

    def _directory(self, study: UUID, number: int, lease: UUID) -> Path:
        return self.root / str(UUID(str(study))) / str(int(number)) / str(UUID(str(lease)))


def _open(path: Path, what: str) -> BinaryIO:
    try:
        # A link in the store was put there by somebody else: it is not followed.
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise NotFound(f"no {what} at {path}: {error.strerror}") from error


def _make(path: Path) -> None:
    """Make one directory, 0700; parents that the collector has just removed are made again."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _write_whole(path: Path, stream: BinaryIO) -> tuple[str, int]:
    """Give ``path`` the stream's bytes, all or none; returns (sha256, size in bytes)."""
    temp = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    digest, size_bytes = hashlib.sha256(), 0
    try:
        with os.fdopen(os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            while chunk := stream.read(_CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                size_bytes += len(chunk)
            file.flush()
            os.fsync(file.fileno())
        temp.rename(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temp.unlink()
        raise
    return digest.hexdigest(), size_bytes


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
