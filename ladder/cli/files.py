"""Spec files given on the command line, and the server's errors told as lines of them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ladder.specfile import SpecFile


def read_spec(file: Path) -> "SpecFile":
    """Read a YAML file, or stdin for ``-``. Raises LocalError."""
    from ladder.errors import LocalError
    from ladder.specfile import parse

    try:
        return parse(sys.stdin.read() if str(file) == "-" else file.read_text(), str(file))
    except OSError as error:
        raise LocalError(f"{file}: {error.strerror}", "name a YAML file with -f") from error
    except UnicodeDecodeError as error:
        raise LocalError(f"{file}: not text in UTF-8: {error.reason} at byte {error.start}") from error


@contextmanager
def pointing_at(spec: "SpecFile") -> Iterator[None]:
    """Turns the server's pointers into lines of the file."""
    from ladder.errors import ApiError

    try:
        yield
    except ApiError as error:
        error.errors = tuple(spec.located(field) for field in error.errors)
        raise
