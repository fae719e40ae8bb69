"""What a run is given besides its trial: its limits of time, its place, and whether its worker was asked to stop."""

from dataclasses import dataclass, field
from pathlib import Path

from hpo.checkpoints.filesystem import FilesystemStore
from hpo.settings import Settings
from workers.room import Room
from workers.stats import Stats


@dataclass(frozen=True, slots=True)
class Limits:
    """Durations in seconds. A run is stalled after ``max(stall_s, stall_epochs x its median epoch)`` without progress.

    ``drain_s`` is the time from the request to stop until a child that is still in its epoch is killed.
    """

    heartbeat_s: float = 10.0
    isolation_s: float = 300.0
    drain_s: float = 50.0
    report_every_s: float = 1.0
    retry_s: float = 1.0
    stall_s: float = 600.0
    stall_epochs: float = 5.0

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        margin_s = min(10.0, settings.drain_s / 4)  # to report, hand back and exit
        return cls(
            heartbeat_s=settings.heartbeat_s,
            # Silence is only a sign once several heartbeats have gone unanswered.
            isolation_s=max(settings.isolation_s, 3 * settings.heartbeat_s),
            drain_s=settings.drain_s - margin_s,
            retry_s=min(1.0, settings.heartbeat_s),
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker trains: the store it shares with all others, its data and what it keeps of them, its threads.

    ``room`` is the device, which it shares with the other slots of its machine; ``stats`` counts what it trains.
    """

    store: FilesystemStore
    data_root: Path
    threads: int
    cache_root: Path | None = None  # None: nothing is kept from trial to trial
    room: Room = field(default_factory=Room)
    stats: Stats = field(default_factory=Stats)


@dataclass(slots=True)
class Draining:
    """Whether this worker was asked to stop, and since when (monotonic seconds)."""

    since: float | None = None
