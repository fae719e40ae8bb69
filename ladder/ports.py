"""Free TCP ports on loopback."""

import random
import socket

from ladder.errors import StackError

# Below the range that the kernel gives to outgoing connections (from 32768 on), which could take a port that was free
# a moment ago.
LOWEST, HIGHEST = 20_000, 32_000
TRIES = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1 at ``port`` now."""
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as servers do: connections that ended do not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port(count: int = 1) -> int:
    """The first of ``count`` consecutive free ports, chosen at random so that two stacks seldom choose the same."""
    for _ in range(TRIES):
        first = random.randrange(LOWEST, HIGHEST)
        if all(is_free(first + offset) for offset in range(count)):
            return first
    raise StackError(f"no {count} free ports between {LOWEST} and {HIGHEST} on 127.0.0.1")
