"""Files that are whole or not there, whatever the moment of a crash. Torch-free."""

import os
import secrets
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Give ``path``, in a directory that exists, this content: temp file, fsync, rename, fsync of the directory.

    Of several that write it at once the last one stands. Raises OSError (disk full, …) and then leaves no temp file.
    """
    temp = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temp.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temp.replace(path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Write what is known of a file, or the entries of a directory, to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
