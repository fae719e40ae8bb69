"""The states of a study and the edges between them."""

from enum import StrEnum


class StudyState(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"  # no new work; running trials end at their rung
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


_S = StudyState

STUDY_EDGES: dict[StudyState, frozenset[StudyState]] = {
    _S.CREATED: frozenset({_S.RUNNING, _S.CANCELLED}),
    _S.RUNNING: frozenset({_S.PAUSED, _S.STOPPING, _S.FINISHED, _S.FAILED, _S.CANCELLED}),
    _S.PAUSED: frozenset({_S.RUNNING, _S.STOPPING, _S.CANCELLED}),
    _S.STOPPING: frozenset({_S.FINISHED, _S.FAILED, _S.CANCELLED}),
    _S.FINISHED: frozenset({_S.RUNNING}),  # extend
    _S.FAILED: frozenset(),
    _S.CANCELLED: frozenset(),
}

STUDY_ENDED = frozenset({_S.FINISHED, _S.FAILED, _S.CANCELLED})
