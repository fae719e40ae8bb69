"""What a drawing hands back, and how it becomes JSON that plotly.js takes and a page may dress."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

# The page's: its fonts, colours and room.
_STRIPPED = ("title", "template", "width", "height", "font", "plot_bgcolor", "paper_bgcolor", "margin")
DIGITS = 7  # of a number in a figure: more than a screen can show, and half the bytes
PALE = 0.3  # opacity of what is there for comparison only


@dataclass(frozen=True, slots=True)
class Drawn:
    """Traces and layout of plotly.js; ``n_trials`` could be shown, ``shown`` of them are.

    Nothing is drawn with a ``reason``, which may else say what was left out. ``sampling`` says which are shown.
    """

    data: Sequence[Any] = ()
    layout: Mapping[str, Any] = field(default_factory=dict)
    n_trials: int = 0
    shown: int = 0
    reason: str | None = None
    at_step: int | None = None
    params: tuple[str, ...] = ()
    sampling: str | None = None


def traces_of(figure: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Data and layout of a figure of plotly as plain JSON values."""
    found = figure.to_plotly_json()
    return plain(found["data"]), plain(found["layout"])


def plain(value: Any) -> Any:
    """As JSON has it: NaN and infinities, which it has not, are null; numbers have ``DIGITS`` digits."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    assert value is None, f"no JSON for {type(value)}"
    return None


def undressed(layout: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in layout.items() if name not in _STRIPPED}


def encoded(drawn: Drawn, revision: int) -> bytes:
    """The answer's body, as ``api.schemas.analysis.Figure`` describes it."""
    meta = {
        "n_trials": drawn.n_trials,
        "shown": drawn.shown,
        "revision": revision,
        "reason": drawn.reason,
        "at_step": drawn.at_step,
        "params": list(drawn.params),
        "sampling": drawn.sampling,
    }
    body = {"data": plain(drawn.data), "layout": plain(undressed(drawn.layout)), "meta": meta}
    return json.dumps(body, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
