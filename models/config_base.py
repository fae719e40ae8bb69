"""What the configurations of all trainers have in common. Torch-free."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict


class TrainerConfig(BaseModel):
    """Frozen, no unknown entry, no NaN, and no bool that passes as a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def shown(value: Any) -> str:
    """A value as it stands in a message: cut and escaped, since the text goes into logs and the value is anybody's."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
