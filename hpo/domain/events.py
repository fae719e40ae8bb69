"""The facts of a study's append-only log. A change and its event share one transaction."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class EventType(StrEnum):
    STUDY_UPDATED = "study-updated"
    TRIAL_CREATED = "trial-created"  # params, cursor; "imported" instead of a cursor where it ran elsewhere
    TRIAL_STARTED = "trial-started"  # worker, attempt, from, alone
    TRIAL_REPORTED = "trial-reported"  # step, loss; at a rung also bracket, rung, decision, target
    TRIAL_PAUSED = "trial-paused"  # the same, with decision "pause"
    TRIAL_PROMOTED = "trial-promoted"  # bracket, rung, target
    # end_class; or "retried", by a person, with the rung that its last end had entered it at as "left" where it had
    TRIAL_REQUEUED = "trial-requeued"
    TRIAL_REOPENED = "trial-reopened"  # state: paused or queued, as the end of the study that was extended found it
    # state, end_class; the report's fields where a report ended it. Where the trainer ended it of its own accord: loss
    # and counts_at, the resource of the rung at which that loss counts. By a person, while it waited: by "user".
    TRIAL_FINISHED = "trial-finished"
    TEST_SCORED = "test-scored"  # step, metrics: of the trial that a confirmation ends with, the test part unsealed
    REPLAY_MISMATCH = "replay-mismatch"  # a step came again with another value; the first stands


@dataclass(frozen=True, slots=True)
class Event:
    """``seq`` numbers the events of one study without a gap; ``trial`` is the trial's number."""

    seq: int
    type: EventType
    trial: int | None = None
    data: dict[str, Any] = field(default_factory=dict)
