"""What a run has to report and has not yet: epochs in order, each with the checkpoint that was written at it."""

from collections import deque
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

from api.schemas.base import metric_out
from api.schemas.leases import ReleaseIn, ReportIn, StepIn
from workers.protocol import Epoch

BATCH = 100  # epochs in one report; a report holds at most 100 checkpoints
FULL = 1000  # epochs that are kept while the API cannot be reached


@dataclass(frozen=True, slots=True)
class Notes:
    """What travels once with the first report: offered checkpoints that were corrupt, and what the set-up found."""

    corrupt: tuple[UUID, ...] = ()
    setup_s: float | None = None
    split_sha256: str | None = None
    class_names: tuple[str, ...] = ()


class Outbox:
    """Epochs that wait to be reported under one lease. Nothing leaves it before ``sent`` confirms the batch."""

    def __init__(self, lease: UUID) -> None:
        self._lease = lease
        self._epochs: deque[Epoch] = deque()
        self.notes = Notes()

    def __len__(self) -> int:
        return len(self._epochs)

    @property
    def full(self) -> bool:
        return len(self._epochs) >= FULL

    def add(self, epoch: Epoch) -> None:
        self._epochs.append(epoch)

    def batch(self) -> ReportIn | None:
        """The oldest epochs as one report, the last of them as its step; None if there are none."""
        epochs = list(islice(self._epochs, BATCH))
        if not epochs:
            return None
        *earlier, last = epochs
        return ReportIn(
            **_step(last).model_dump(),
            lease=self._lease,
            earlier=[_step(epoch) for epoch in earlier],
            checkpoints=[epoch.checkpoint for epoch in epochs if epoch.checkpoint is not None],
            corrupt=list(self.notes.corrupt),
            setup_s=self.notes.setup_s,
            peak_memory_bytes=last.peak_memory_bytes,
            split_sha256=self.notes.split_sha256,
            class_names=list(self.notes.class_names),
        )

    def sent(self, batch: ReportIn) -> None:
        """Forget a batch that the API has accepted."""
        for _ in range(len(batch.earlier) + 1):
            self._epochs.popleft()
        self.notes = Notes()

    def clear(self) -> None:
        self._epochs.clear()

    def release(self) -> ReleaseIn:
        """The trial handed back: with what could not be said in any report."""
        return ReleaseIn(lease=self._lease, corrupt=list(self.notes.corrupt))


def _step(epoch: Epoch) -> StepIn:
    # Built from words where a number is not finite: that is how the schema takes it in.
    metrics = {name: metric_out(value) for name, value in epoch.metrics.items()}
    body = {"step": epoch.step, "metrics": metrics, "seconds": epoch.seconds, "confusion": epoch.confusion}
    return StepIn.model_validate(body)
