"""Grid search: every point once, in an order shuffled by the seed, so that a cut-off grid still covers the space."""

from hashlib import shake_256

from hpo.domain.history import History, Params, RngKey
from hpo.space.space import Space, grid_point, grid_size

ROUNDS = 4


class GridSearch:
    def ask(self, space: Space, history: History, key: RngKey) -> Params:
        """The point of trial ``key.number``. Raises ValueError beyond the grid or if a parameter is continuous."""
        size = grid_size(space)
        if not 0 <= key.number < size:
            raise ValueError(f"the grid has {size} points, asked for number {key.number}")
        return grid_point(space, shuffled(key.number, size, key.seed))


def shuffled(index: int, size: int, seed: int) -> int:
    """Where a permutation of ``range(size)``, chosen by ``seed``, sends ``index``.

    A Feistel network with cycle walking (Black and Rogaway 2002): a grid may have more points than fit in memory,
    so the permutation is computed point by point instead of being kept.
    """
    half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half_bits) - 1
    while True:
        left, right = index >> half_bits, index & mask
        for turn in range(ROUNDS):
            left, right = right, left ^ (_mix(right, turn, seed, half_bits) & mask)
        index = left << half_bits | right
        # The network permutes a power of 4 of at most 4 * size numbers: walk on until it lands inside the grid.
        if index < size:
            return index


def _mix(value: int, turn: int, seed: int, bits: int) -> int:
    """At least ``bits`` bits that depend on every argument."""
    # shake_256 because its digest may have any length: a space of 200 parameters has grids of thousands of bits.
    n_bytes = (bits + 7) // 8
    message = f"{seed}:{turn}:".encode() + value.to_bytes(n_bytes, "big")
    return int.from_bytes(shake_256(message).digest(n_bytes), "big")
