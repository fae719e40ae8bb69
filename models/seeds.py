"""Independent random streams, each named by what it is for.

Data order, dropout and initial weights are functions of (seed, purpose, epoch): a resumed trial draws what an
uninterrupted one would have drawn, with no generator state to carry, whatever else ran in the process before.
"""

import hashlib


def derive(seed: int, purpose: str, epoch: int = 0) -> int:
    """A 63-bit seed for one stream; near numbers give unrelated streams."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
