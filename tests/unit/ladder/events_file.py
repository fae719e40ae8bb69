"""Reads TensorBoard's files by their published format, with nothing of the library that wrote them.

A record is its length (uint64), the masked CRC-32C of that, the bytes, their masked CRC-32C; all little-endian.
"""

import struct
from collections.abc import Iterator
from pathlib import Path


def _table() -> list[int]:
    rows = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        rows.append(crc)
    return rows


TABLE = _table()


def crc32c(content: bytes) -> int:
    """CRC-32 of the Castagnoli polynomial."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def masked(content: bytes) -> int:
    crc = crc32c(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(path: Path) -> Iterator[bytes]:
    """The records of a file. Raises ValueError for a torn or altered one."""
    content, at = path.read_bytes(), 0
    while at < len(content):
        header = content[at : at + 8]
        length = struct.unpack("<Q", header)[0]
        data = content[at + 12 : at + 12 + length]
        sums = struct.unpack("<I", content[at + 8 : at + 12]) + struct.unpack(
            "<I", content[at + 12 + length : at + 16 + length]
        )
        if sums != (masked(header), masked(data)):
            raise ValueError(f"{path}: the record at byte {at} is torn")
        yield data
        at += 16 + length
