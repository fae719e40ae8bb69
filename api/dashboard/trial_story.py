"""What happened to a trial, in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from api.dashboard.render import number
from hpo.spec.study import StudySpec

HINTS: dict[str, str] = {
    "oom": "The device's memory was not enough: narrow what makes the network or its batches large, bound it by an"
    " outcome constraint, or give the trial a larger device by another queue.",
    "user_error": "The trainer cannot use this configuration, so it was not tried again. Forbid it in the search space,"
    " or mend the trainer and press Retry.",
    "stalled": "No step was reported within trainer.timeout_s. A longer timeout or fewer data per epoch may help.",
    "poison": "Every worker that took it died. Look at the logs of its attempts before it is tried again.",
    "infra": "Its workers went away, not the training itself: Retry goes on from the last checkpoint.",
    "diverged": "The loss became infinite or no number, which counts as a result: the sampler keeps away from here.",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """At a rung: the value there, the rank among all that have come by now, and what became of the trial."""

    step: int
    where: str
    value: str
    rank: str
    outcome: str
    at: datetime


def decisions(rows: Sequence[Row[Any]], trial: Row[Any], spec: StudySpec) -> list[Decision]:
    return [
        Decision(
            row.resource,
            f"rung {row.rung}" if row.bracket >= 0 else f"rule {-row.bracket}",
            "–" if row.loss is None else number(spec.objective.value(row.loss)),
            f"{ordinal(row.rank)} of {row.entries:,}" if row.bracket >= 0 and row.loss is not None else "–",
            _outcome(row, rows, trial),
            row.at,
        )
        for row in rows
        if row.bracket >= 0 or row.decision != "continue"  # a rule that let it pass has nothing to tell
    ]


def _outcome(row: Row[Any], rows: Sequence[Row[Any]], trial: Row[Any]) -> str:
    if row.decision == "complete":
        return "trained to the end"
    if row.loss is None:
        return "ended on the way to this rung"
    if row.decision == "stop":
        return "stopped" if row.bracket >= 0 else "stopped by this rule"
    further = trial.target_step > row.resource or any(
        other.bracket == row.bracket and other.rung > row.rung for other in rows
    )
    if row.decision == "continue":
        return "went on" if further else "may go on"
    if further:
        return f"promoted to rung {row.rung + 1}"
    return "waits here for a promotion" if row.waiting and trial.state == "paused" else "not promoted"


def rungs(
    ladder: Sequence[Row[Any]], cutoffs: Sequence[float | None], spec: StudySpec
) -> list[tuple[int, str, float | None]]:
    """(step, label, value needed to go on) of each rung of a bracket."""
    return [
        (row.resource, f"rung {row.rung}", None if cut is None else spec.objective.value(cut))
        for row, cut in zip(ladder, cutoffs, strict=True)
    ]


def ordinal(rank: int) -> str:
    end = "th" if rank % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank:,}{end}"


def hint(trial: Row[Any], end_class: str | None, broken: Sequence[str]) -> str | None:
    """What may help a trial that failed."""
    said = HINTS.get(end_class or (trial.error or {}).get("end_class") or "")
    if broken:
        said = f"{said or ''} It broke {', '.join(broken)}.".strip()
    return said


def broken_bounds(spec: StudySpec, metrics: dict[str, Any]) -> list[str]:
    """The outcome constraints that a trial's newest metrics miss, such as "params_m <= 5 with 8.1"."""
    found = []
    for one in spec.constraints:
        value = metrics.get(one.metric)
        if isinstance(value, int | float) and one.violation(value) > 0:
            found.append(f"{one.metric} {one.op} {number(one.value)} with {number(value)}")
    return found
