"""How a failed run is told to the API: the failure classes of RELIABILITY.md 3.6, as far as a worker knows them."""

import signal
from pathlib import Path
from uuid import UUID

from api.schemas.base import metric_out
from api.schemas.leases import ErrorIn, TellIn
from workers.child import Gone
from workers.protocol import Failed

RETRYABLE = frozenset({"oom", "infra", "stalled"})


def failure(lease: UUID, kind: str, message: str, *, traceback: str = "") -> TellIn:
    """A trial that failed in a way which has no metrics."""
    error = ErrorIn(type=kind, message=message, traceback=traceback, retryable=kind in RETRYABLE)
    return TellIn(lease=lease, state="failed", error=error)


def of_failed(lease: UUID, failed: Failed) -> TellIn:
    """What the child itself said of the error."""
    told = failure(lease, failed.kind, failed.message, traceback=failed.traceback)
    metrics = {name: metric_out(value) for name, value in failed.metrics.items()}
    body = {**told.model_dump(), "step": failed.step, "metrics": metrics}
    return TellIn.model_validate(body)


def of_gone(lease: UUID, gone: Gone, *, out_of_memory: bool) -> TellIn:
    """A child that ended without a word. ``out_of_memory``: the kernel has killed for memory since the run began."""
    if gone.code >= 0:
        return failure(lease, "user_error", f"the trainer exited with status {gone.code}", traceback=gone.stderr)
    name = signal.Signals(-gone.code).name
    if gone.code == -signal.SIGKILL and out_of_memory:
        return failure(lease, "oom", "the system killed the trainer for lack of memory", traceback=gone.stderr)
    return failure(lease, "infra", f"the trainer was killed by {name}", traceback=gone.stderr)


def oom_kills(cgroup: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int:
    """How often the kernel has killed for memory in this process's cgroup (v2); 0 where that is not known."""
    try:
        path = cgroup.read_text().rpartition("0::/")[2].strip()
        events = (root / path / "memory.events").read_text()
    except OSError:
        return 0  # no cgroup v2 here: a kill for memory then shows as any other kill
    counts = dict(line.split() for line in events.splitlines())
    return int(counts.get("oom_kill", 0))
