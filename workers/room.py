"""The device that the slots of one worker share: who ran out of memory before waits until it has it to itself.

Two files are locked with flock, whose locks the kernel takes back from a process that dies. Whoever trains, or keeps a
trainer that still holds memory, shares ``room``, and has passed ``gate`` on the way in. Who wants to be alone shuts the
gate first, so that nobody comes in any more, and has the room once the last one has left it. One that waits at the gate
holds nothing of the room, so nobody waits for each other.
"""

import fcntl
import os
from pathlib import Path

POLL_S = 0.1  # how often a lock is asked for again: a wait in the kernel could not be ended by a stop or a lost lease


class Room:
    """One slot's place on the device. Nothing here waits: what is not to be had now is to be asked for again.

    ``directory`` is the same for all slots of the device and on a disk of its own machine; without one the slot is
    the only one and alone at all times. But for ``wanted`` it belongs to the one thread that trains.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._files: tuple[int, ...] = ()
        if directory is not None:
            # The gate twice: looking at it must not touch the lock that this slot may have on it.
            self._files = tuple(
                os.open(directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                for name in ("gate", "room", "gate")
            )

    @property
    def shared(self) -> bool:
        return bool(self._files)

    def enter(self) -> bool:
        """Pass the gate and share the room; False while another slot is alone, or waits to be."""
        if not self._files:
            return True
        gate, room, _ = self._files
        if not _locked(gate, fcntl.LOCK_SH):
            return False
        inside = _locked(room, fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        return inside

    def take(self) -> bool:
        """Shut the gate, then have the room alone; False while others are in it. Ask again until then, or ``leave``."""
        if not self._files:
            return True
        gate, room, _ = self._files
        fcntl.flock(room, fcntl.LOCK_UN)  # what it shared: two that both waited for the other to leave would never end
        return _locked(gate, fcntl.LOCK_EX) and _locked(room, fcntl.LOCK_EX)

    def leave(self) -> None:
        """Give up the room and open the gate, as far as this slot had them."""
        for lock in reversed(self._files[:2]):
            fcntl.flock(lock, fcntl.LOCK_UN)

    @property
    def wanted(self) -> bool:
        """Whether a slot has shut the gate. From any thread."""
        if not self._files:
            return False
        gate = self._files[2]
        if not _locked(gate, fcntl.LOCK_SH):
            return True
        fcntl.flock(gate, fcntl.LOCK_UN)
        return False

    def close(self) -> None:
        """Leave for good."""
        files, self._files = self._files, ()
        for file in files:
            os.close(file)


def _locked(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
