"""A study on the terminal, as the commands that look at one or change one show it."""

import json
from typing import TYPE_CHECKING

from ladder.cli.output import emit, fields, number, params

if TYPE_CHECKING:
    from api.schemas.studies import StudyRead


def _confirmation(info: "StudyRead") -> str | None:
    found = info.confirmation
    if found is None:
        return None
    return f"{found.state} by {found.study}" if found.reason is None else f"{found.state}: {found.reason}"


def show_study(info: "StudyRead", as_json: bool) -> None:
    if as_json:
        return emit(info)
    fields(
        {
            "name": info.name,
            "id": info.id,
            "state": f"{info.state}" + (f" ({info.state_reason})" if info.state_reason else ""),
            "objective": f"{info.objective.direction} {info.objective.metric}",
            "trainer": f"{info.trainer.name} {json.dumps(info.trainer.config)}",
            "sampler": info.sampler.type,
            "scheduler": info.scheduler.type,
            "trials": " ".join(f"{name} {count}" for name, count in info.counts.model_dump().items()),
            "best": f"{number(info.best.value)} trial {info.best.number}: {params(info.best.params)}"
            if info.best
            else None,
            "confirmation": _confirmation(info),
            "usage": f"{info.usage.epochs} epochs, {info.usage.gpu_hours:.2f} device hours",
            "created": info.created_at,
            "finished": info.finished_at,
            **{f"{c.type}": c.message for c in info.conditions if not c.status},
        }
    )
