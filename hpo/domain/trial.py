"""The states of a trial, the edges between them, the ways an attempt ends, and the seed it trains with."""

from enum import StrEnum


class TrialState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"  # waits at a rung with its checkpoint; may be promoted later
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    CANCELLED = "cancelled"


_T = TrialState

TRIAL_EDGES: dict[TrialState, frozenset[TrialState]] = {
    # queued -> pruned: a promoted trial whose study ends before a worker takes it has a result to keep
    _T.QUEUED: frozenset({_T.RUNNING, _T.PRUNED, _T.CANCELLED}),
    # running -> queued: a lost lease, a drain, or a failure that is retried
    _T.RUNNING: frozenset({_T.COMPLETE, _T.PRUNED, _T.FAILED, _T.CANCELLED, _T.PAUSED, _T.QUEUED}),
    _T.PAUSED: frozenset({_T.QUEUED, _T.PRUNED, _T.CANCELLED}),
    _T.COMPLETE: frozenset(),
    # What the end of its study closed, an extension opens again: it waits as it did before.
    _T.PRUNED: frozenset({_T.PAUSED, _T.QUEUED}),
    # retry, by a person; for a cancelled one that was never trained also an extension
    _T.FAILED: frozenset({_T.QUEUED}),
    _T.CANCELLED: frozenset({_T.QUEUED}),
}

TRIAL_ENDED = frozenset({_T.COMPLETE, _T.PRUNED, _T.FAILED, _T.CANCELLED})


class EndClass(StrEnum):
    """Why an attempt ended. The failure classes and their retry rules stand in RELIABILITY.md 3.6."""

    PAUSED = "paused"
    COMPLETE = "complete"
    PRUNED = "pruned"
    CANCELLED = "cancelled"
    DRAIN = "drain"  # handed back by a worker that was told to stop, or because the study was paused
    INFRA = "infra"  # lease lost, node gone, disk full
    OOM = "oom"
    DIVERGED = "diverged"  # NaN or infinite objective: a result, never retried
    USER_ERROR = "user_error"
    STALLED = "stalled"
    POISON = "poison"


class StopRequest(StrEnum):
    """What a heartbeat asks a running trial to do."""

    PAUSE = "pause"  # checkpoint at the end of the epoch and release
    STOP = "stop"  # end now; the result so far is kept
    CANCEL = "cancel"  # end now; the result is dropped


def training_seed(study_seed: int, number: int) -> int:
    """Seed of a trial's training: differs from trial to trial of a study, the same in every attempt."""
    return (study_seed * 1_000_003 + number) % 2**31
