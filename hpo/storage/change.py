"""A locked trial and its study, changed together: one UPDATE each, the events between, in one round trip."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from hpo.domain.events import EventType
from hpo.domain.report import Report, SavedCheckpoint, StepResult
from hpo.domain.trial import TRIAL_EDGES, EndClass, TrialState
from hpo.storage.batch import Batch


def word(value: float) -> float | str:
    """JSON has no NaN: a non-finite number is stored as a word."""
    if math.isfinite(value):
        return value
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


class StudyChange:
    """Events and counters of a study whose row is locked by this transaction."""

    def __init__(self, study: UUID, last_seq: int) -> None:
        self.study = study
        self.seq = last_seq
        self.batch = Batch()
        self.counts: Counter[str] = Counter()
        self.device_seconds = 0.0

    def next_seq(self) -> int:
        self.seq += 1
        return self.seq

    def event(self, kind: EventType, number: int | None, data: dict[str, Any], *, seq: int | None = None) -> None:
        self.batch.add(
            "INSERT INTO event (study_id, seq, type, number, data)"
            " VALUES (%(study)s, %(seq)s, %(type)s, %(number)s, %(data)s)",
            study=self.study,
            seq=self.next_seq() if seq is None else seq,
            type=kind.value,
            number=number,
            data=json.dumps(data, allow_nan=False),
        )

    def move(self, before: TrialState, after: TrialState, number: int = 1) -> None:
        assert after in TRIAL_EDGES[before], f"a trial cannot go from {before} to {after}"
        self.counts[before.value] -= number
        self.counts[after.value] += number

    def flush_study(self, **columns: Any) -> None:
        """Write the study's row once. Keyword arguments are further columns and their values."""
        deltas: dict[str, float] = {name: delta for name, delta in sorted(self.counts.items()) if delta}
        if self.device_seconds:
            deltas["device_seconds"] = self.device_seconds
        sets = [f"{name} = {name} + %(d_{name})s" for name in deltas] + [f"{name} = %({name})s" for name in columns]
        self.batch.add(
            f"UPDATE study SET {''.join(f'{part}, ' for part in sets)}last_seq = %(last_seq)s,"
            " updated_at = clock_timestamp() WHERE id = %(study_id)s",
            last_seq=self.seq,
            study_id=self.study,
            **{f"d_{name}": delta for name, delta in deltas.items()},
            **columns,
        )
        self.counts.clear()
        self.device_seconds = 0.0

    def bump(self, **columns: Any) -> None:
        """Write the study's row with a new revision: something that a client may cache by ETag has changed."""
        self.batch.add("UPDATE study SET revision = revision + 1 WHERE id = %(study)s", study=self.study)
        self.flush_study(**columns)

    def run(self, tx: Connection) -> None:
        self.batch.run(tx)


class TrialChange(StudyChange):
    """A trial leased to the caller, as ``leases.lock`` returned it, with its study."""

    def __init__(self, row: Any, study: UUID) -> None:
        super().__init__(study, row.last_seq)
        self.row = row
        self._sets: dict[str, Any] = {}
        self._clocks: list[str] = ["updated_at = clock_timestamp()"]
        self._wait_s: float | None = None

    def set(self, **columns: Any) -> None:
        self._sets.update(columns)

    def steps(
        self, fresh: Sequence[StepResult], losses: Sequence[float], decision: str, target: int | None = None
    ) -> None:
        """Store steps that were not accepted before and account for them; ``decision`` stands with the last one."""
        row = self.row
        for step, loss in zip(fresh, losses, strict=True):
            last = step is fresh[-1]
            self.batch.add(
                "INSERT INTO report"
                " (trial_id, step, lease_id, attempt, loss, metrics, confusion, seconds, decision, target)"
                " VALUES (%(trial)s, %(step)s, %(lease)s, %(attempt)s, %(loss)s, %(metrics)s, %(confusion)s,"
                " %(seconds)s, %(decision)s, %(target)s)",
                trial=row.id,
                step=step.step,
                lease=row.lease_id,
                attempt=row.attempt,
                loss=loss if math.isfinite(loss) else None,
                metrics=json.dumps({name: word(value) for name, value in step.metrics.items()}, allow_nan=False),
                confusion=None if step.confusion is None else json.dumps(step.confusion),
                seconds=step.seconds,
                decision=decision if last else None,
                target=target if last else None,
            )
        gained = fresh[-1].step - row.last_step
        self.counts["spent"] += gained
        self.counts["reserved"] -= gained
        finite = math.isfinite(losses[-1])
        self.set(last_step=fresh[-1].step, no_progress_attempts=0, loss=losses[-1] if finite else None)
        if not finite:
            self.set(non_finite=word(losses[-1]))

    def judged(self, vector: Sequence[float], violation: float) -> None:
        """What a stop says beyond the first objective's loss."""
        if vector:
            self.set(vector=list(vector))
        if violation or self.row.violation:
            self.set(violation=violation)

    def watch(self, best_merit: float | None, since_best: int) -> None:
        """Keep how long the study has found nothing better."""
        self.batch.add(
            "UPDATE study SET best_merit = %(best)s, since_best = %(since)s WHERE id = %(study)s",
            best=best_merit,
            since=since_best,
            study=self.study,
        )

    def retarget(self, target: int) -> None:
        """Let a running trial train on to ``target``; the epochs up to the old one are reserved already."""
        self.counts["reserved"] += target - self.row.target_step
        self.set(target_step=target)

    def renew(self) -> None:
        self._clocks.append("lease_expires_at = clock_timestamp() + make_interval(secs => lease_ttl_s)")

    def leave_running(self, state: TrialState, end_class: EndClass, error: dict[str, Any] | None = None) -> None:
        """End the attempt and its lease; what it had reserved and did not spend is given back."""
        row = self.row
        last = self._sets.get("last_step", row.last_step)
        self.move(TrialState.RUNNING, state)
        # steps() has moved what was trained from reserved to spent; this is the rest.
        self.counts["reserved"] -= row.target_step - last
        self.device_seconds += row.held_s
        self.set(state=state.value, lease_id=None, lease_expires_at=None, claim_id=None, stop_requested=None)
        if state is TrialState.QUEUED:
            self._clocks += ["queued_at = clock_timestamp()"]
            self.set(hinted_at=None)
        elif state is not TrialState.PAUSED:
            self._clocks.append("finished_at = clock_timestamp()")
        self._clocks.append("device_seconds = device_seconds + %(held_s)s")
        if error is not None:
            self.set(error=json.dumps(error))
        self.batch.add(
            "UPDATE attempt SET ended_at = clock_timestamp(), end_class = %(end_class)s, end_step = %(step)s,"
            " device_seconds = %(held)s, error = %(error)s WHERE trial_id = %(trial)s AND attempt = %(attempt)s",
            end_class=end_class.value,
            step=last,
            held=row.held_s,
            error=None if error is None else json.dumps(error),
            trial=row.id,
            attempt=row.attempt,
        )

    def not_before(self, seconds: float) -> None:
        """Let no worker take the queued trial for this long."""
        self._wait_s = seconds
        self._clocks.append("not_before = clock_timestamp() + make_interval(secs => %(wait_s)s)")

    def notes(self, body: Report) -> None:
        """What a report says besides its steps: checkpoints, and how the attempt began."""
        self.checkpoints(body.checkpoints, body.corrupt)
        if body.split_sha256 is not None and self.row.split_sha256 is None:
            self.batch.add(
                "UPDATE study SET split_sha256 = %(split)s, class_names = %(names)s WHERE id = %(study)s",
                split=body.split_sha256,
                names=json.dumps(body.class_names),
                study=self.study,
            )
        if body.setup_s is not None or body.peak_memory_bytes is not None:
            self.batch.add(
                "UPDATE attempt SET setup_s = coalesce(setup_s, %(setup)s), peak_memory_bytes ="
                " greatest(peak_memory_bytes, %(peak)s) WHERE trial_id = %(trial)s AND attempt = %(attempt)s",
                setup=body.setup_s,
                peak=body.peak_memory_bytes,
                trial=self.row.id,
                attempt=self.row.attempt,
            )

    def checkpoints(self, saved: Sequence[SavedCheckpoint], corrupt: Sequence[UUID]) -> None:
        for one in saved:
            self.batch.add(
                "INSERT INTO checkpoint (trial_id, lease_id, attempt, step, sha256, size_bytes) VALUES"
                " (%(trial)s, %(lease)s, %(attempt)s, %(step)s, %(sha256)s, %(size)s)"
                " ON CONFLICT (trial_id, lease_id, step) DO NOTHING",
                trial=self.row.id,
                lease=self.row.lease_id,
                attempt=self.row.attempt,
                step=one.step,
                sha256=one.sha256,
                size=one.size_bytes,
            )
        for checkpoint in corrupt:
            self.batch.add(
                "UPDATE checkpoint SET state = 'corrupt' WHERE id = %(id)s AND trial_id = %(trial)s AND state = 'ok'",
                id=checkpoint,
                trial=self.row.id,
            )

    def write(self, tx: Connection) -> datetime | None:
        """Send everything; returns the lease's end, None if the lease has ended."""
        self.flush_study()
        columns = [*(f"{name} = %({name})s" for name in self._sets), *self._clocks]
        self.batch.add(
            f"UPDATE trial SET {', '.join(columns)} WHERE id = %(trial_id)s RETURNING lease_expires_at",
            trial_id=self.row.id,
            wait_s=self._wait_s,
            held_s=self.row.held_s,
            **self._sets,
        )
        [row] = self.batch.run(tx)
        expires_at: datetime | None = row.lease_expires_at
        return expires_at
