"""What can happen to a run besides what its child says, and how a run ends."""

from dataclasses import dataclass

from workers.heartbeat import StopRequest


@dataclass(frozen=True, slots=True)
class Woken:
    """Look around: the worker was asked to stop."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The API wants the run's trial to be paused, stopped or cancelled."""

    run: int
    request: StopRequest


@dataclass(frozen=True, slots=True)
class Lost:
    """The run's lease is gone; its child has been killed."""

    run: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended. ``keep_child``: it is idle, or will be within moments, and fit for the next trial."""

    how: str
    keep_child: bool
