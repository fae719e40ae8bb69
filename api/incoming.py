"""A request's body as a file that a thread reads while it arrives: never more than a chunk of it is in memory."""

import base64
import binascii
import hashlib
import re
from collections.abc import AsyncIterator
from io import RawIOBase
from typing import Any

from anyio import fail_after, from_thread

from hpo.domain.errors import FieldError, InvalidSpec, Malformed, TooLarge

SILENT_S = 60.0  # without a byte: the thread that waits for it is one of few


def told_sha256(digest: str | None, sha256: str | None) -> str | None:
    """The hash that the sender tells in ``Digest`` (RFC 3230) or ``X-Content-SHA256``, as hex. Raises InvalidSpec."""
    told = set()
    if sha256 is not None:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
            message = f"want the SHA-256 as 64 hexadecimal digits, got {sha256[:80]!r}"
            raise InvalidSpec(FieldError("/header/X-Content-SHA256", "not_a_sha256", message))
        told.add(sha256.lower())
    for part in (digest or "").split(","):
        kind, _, value = part.strip().partition("=")
        if kind.lower() == "sha-256":
            told.add(_decoded(value))
    if len(told) > 1:
        message = "Digest and X-Content-SHA256 tell different hashes"
        raise InvalidSpec(FieldError("/header/Digest", "contradictory", message))
    return told.pop() if told else None


def _decoded(value: str) -> str:
    try:
        found = base64.b64decode(value.encode("ascii", "replace"), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != 32:
        message = f"want sha-256=<base64 of 32 bytes>, got {value[:80]!r}"
        raise InvalidSpec(FieldError("/header/Digest", "not_a_sha256", message))
    return found.hex()


class Incoming(RawIOBase):
    """Read it in a thread that anyio has started. Its end is only reached if the bytes are what they should be.

    Raises TooLarge, Malformed where nothing more comes, and InvalidSpec where their hash is another than ``sha256``:
    who stores it then stores nothing.
    """

    def __init__(self, stream: AsyncIterator[bytes], *, max_bytes: int, sha256: str | None) -> None:
        self._stream, self._max_bytes, self._wanted = stream, max_bytes, sha256
        self._rest = b""
        self._size = 0
        self._digest = hashlib.sha256()
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest and not self._ended:
            self._next()
        part = self._rest[: len(buffer)]
        buffer[: len(part)] = part
        self._rest = self._rest[len(part) :]
        return len(part)

    def _next(self) -> None:
        chunk = from_thread.run(self._receive)
        if chunk is None:
            self._ended = True
            found = self._digest.hexdigest()
            if self._wanted is not None and found != self._wanted:
                message = f"the {self._size} bytes that came have the SHA-256 {found}, {self._wanted} was told"
                raise InvalidSpec(FieldError("/body", "sha256_mismatch", message))
            return
        self._size += len(chunk)
        if self._size > self._max_bytes:
            raise TooLarge(f"an artifact may have at most {self._max_bytes} bytes")
        self._digest.update(chunk)
        self._rest = chunk

    async def _receive(self) -> bytes | None:
        try:
            with fail_after(SILENT_S):
                return await anext(self._stream, None)
        except TimeoutError:
            raise Malformed(f"nothing came for {SILENT_S:g} s after {self._size} bytes: send it again") from None
