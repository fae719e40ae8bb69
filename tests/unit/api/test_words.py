"""Events as sentences."""

from typing import Any

import pytest

from api.dashboard.words import tell
from hpo.domain.events import EventType
from hpo.spec.search import Objective

ACCURACY = Objective(metric="val_acc", direction="maximize")


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("trial-created", {"params": {}, "cursor": 3}, "created"),
        ("trial-started", {"worker": "n1", "attempt": 2, "from": 3}, "started from epoch 3 on n1, attempt 2"),
        ("trial-reported", {"step": 2, "loss": -0.5}, "0.5 after epoch 2"),
        (
            "trial-reported",
            {"step": 3, "loss": -0.5, "rung": 1, "decision": "continue", "target": 9},
            "0.5 after epoch 3, at rung 1: goes on to epoch 9",
        ),
        ("trial-paused", {"step": 1, "rung": 0, "decision": "pause"}, "no value after epoch 1, at rung 0: waits"),
        ("trial-promoted", {"rung": 1, "target": 9}, "promoted from rung 1, trains on to epoch 9"),
        ("trial-requeued", {"end_class": "infra", "step": 6}, "its worker went away, goes on from epoch 6"),
        ("trial-requeued", {"retried": True}, "tried again by a person, begins anew"),
        ("trial-finished", {"end_class": "diverged", "step": 4}, "diverged: its value is not finite after epoch 4"),
        ("trial-finished", {"end_class": "complete", "step": 9, "loss": -0.9}, "trained whole, 0.9 after epoch 9"),
        ("study-updated", {"state": "finished", "reason": "goal"}, "The study has finished: its goal is reached."),
        ("study-updated", {"changed": {"budget": {"max_trials": 9}}}, "Changed: budget.max_trials."),
        ("study-updated", {"stop_requested": 7}, "Trial #7 was asked to stop."),
        ("study-updated", {"confirmation": {"state": "finished"}}, "The winners are confirmed."),
    ],
)  # fmt: skip
def test_an_event_is_told_in_words(kind: str, data: dict[str, Any], said: str) -> None:
    assert tell(kind, data, ACCURACY) == said


@pytest.mark.parametrize("kind", list(EventType))
def test_every_kind_of_event_is_told_even_if_it_says_little(kind: EventType) -> None:
    told = tell(kind.value, {}, ACCURACY)
    assert told
    assert told != kind.value
