"""What of a trial's metrics is a result of its training, equal in equal trainings."""

from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

# What was measured of the run: no two are alike.
MEASURED = frozenset({"images_per_s", "epoch_s", "latency_ms", "peak_memory_mb"})


def timeless(metrics: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in metrics.items() if name not in MEASURED}
