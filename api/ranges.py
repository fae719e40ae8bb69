"""Parts of a file (RFC 9110 14): one range at a time, and what is asked of many is answered with the whole."""

import re
from collections.abc import Iterator
from typing import BinaryIO

CHUNK_BYTES = 1 << 20
_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII)


class Unsatisfiable(Exception):
    """No byte of the file lies in the range."""


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one past the last; None for the whole file, also where the header is not understood.

    Raises Unsatisfiable.
    """
    match = _RANGE.fullmatch(header) if header is not None else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        begin, end = max(0, size - int(last)), size
    else:
        begin, end = int(first), size if last == "" else min(size, int(last) + 1)
        if last != "" and int(last) < begin:
            return None
    if begin >= end:
        raise Unsatisfiable
    return begin, end


def chunks(file: BinaryIO, begin: int, end: int) -> Iterator[bytes]:
    """Bytes ``begin`` to ``end`` of a file, which is closed afterwards."""
    with file:
        file.seek(begin)
        left = end - begin
        while left > 0 and (chunk := file.read(min(left, CHUNK_BYTES))):
            left -= len(chunk)
            yield chunk
