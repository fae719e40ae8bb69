"""A study's events as sentences. What users named or wrote stays text: the templates escape it."""

from collections.abc import Callable, Mapping
from typing import Any

from api.dashboard.render import number
from hpo.spec.search import Objective

ENDS = {
    "complete": "trained whole",
    "pruned": "stopped",
    "cancelled": "cancelled",
    "diverged": "diverged: its value is not finite",
    "user_error": "failed by an error of its own",
    "infra": "its worker went away",
    "oom": "out of memory",
    "stalled": "stopped reporting",
    "poison": "failed again and again without getting on",
    "drain": "handed back by its worker",
    "paused": "paused",
}
DECISIONS = {"continue": "goes on", "pause": "waits", "stop": "stopped", "complete": "trained whole"}
STATES = {
    "created": "The study was created.",
    "running": "The study runs.",
    "paused": "The study was paused.",
    "stopping": "The study is stopping",
    "finished": "The study has finished",
    "failed": "The study has failed",
    "cancelled": "The study was cancelled",
}
REASONS = {
    "user": "by a person",
    "max_trials": "all trials that it may have are done",
    "max_failed": "too many trials failed",
    "max_epochs": "its epochs are spent",
    "max_wall_s": "its time is up",
    "max_gpu_hours": "its device hours are spent",
    "n_full": "enough trials were trained whole",
    "goal": "its goal is reached",
    "stagnation": "nothing got better for long",
    "space_exhausted": "the space holds no other configuration",
}


def tell(kind: str, data: Mapping[str, Any], objective: Objective) -> str:
    """What an event says, without the trial that it is about."""
    match kind:
        case "trial-reported" | "trial-paused":
            return _report(data, objective)
        case "trial-finished":
            return _finish(data, objective)
        case "study-updated":
            return _study(data)
        case _:
            return _PLAIN[kind](data) if kind in _PLAIN else kind


def _created(data: Mapping[str, Any]) -> str:
    return f"created{', imported' if 'imported' in data else ', as asked for' if 'enqueued' in data else ''}"


def _started(data: Mapping[str, Any]) -> str:
    begun, attempt = data.get("from") or 0, data.get("attempt") or 1
    where = f" from epoch {begun}" if begun else ""
    return f"started{where} on {data.get('worker')}{f', attempt {attempt}' if attempt > 1 else ''}"


def _promoted(data: Mapping[str, Any]) -> str:
    source = f", with the weights of #{data['source']}" if "source" in data else ""
    return f"promoted from rung {data.get('rung')}, trains on to epoch {data.get('target')}{source}"


def _requeued(data: Mapping[str, Any]) -> str:
    step = data.get("step")
    why = "tried again by a person" if "retried" in data else ENDS.get(data.get("end_class", ""), "handed back")
    return f"{why}{f', goes on from epoch {step}' if step else ', begins anew'}"


_PLAIN: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "trial-created": _created,
    "trial-started": _started,
    "trial-promoted": _promoted,
    "trial-requeued": _requeued,
    "trial-reopened": lambda data: f"open again: {data.get('state')}",
    "test-scored": lambda data: f"scored on the sealed test part after epoch {data.get('step')}",
    "replay-mismatch": lambda data: f"epoch {data.get('step')} came again with another value; the first stands",
}


def _value(data: Mapping[str, Any], objective: Objective) -> str:
    return number(objective.value(data["loss"])) if isinstance(data.get("loss"), int | float) else "no value"


def _report(data: Mapping[str, Any], objective: Objective) -> str:
    text = f"{_value(data, objective)} after epoch {data.get('step')}"
    if (decision := data.get("decision")) is None:
        return text
    where = f"rung {data['rung']}" if data.get("rung") is not None else "the rules' look"
    onwards = f" to epoch {data['target']}" if decision == "continue" and data.get("target") else ""
    return f"{text}, at {where}: {DECISIONS.get(decision, decision)}{onwards}"


def _finish(data: Mapping[str, Any], objective: Objective) -> str:
    end = data.get("end_class") or data.get("state") or "ended"
    text = ENDS.get(end, str(end))
    by = " by a person" if data.get("by") == "user" else ""
    if isinstance(data.get("loss"), int | float):
        return f"{text}{by}, {_value(data, objective)} after epoch {data.get('step')}"
    step = data.get("step")
    return f"{text}{by}{f' after epoch {step}' if step else ''}"


def _study(data: Mapping[str, Any]) -> str:
    if "imported" in data:
        return "The study was imported: it ran elsewhere."
    if "extended" in data:
        return "The study was extended and searches on."
    if (state := data.get("state")) is not None:
        said, reason = STATES.get(state, f"The study is {state}."), data.get("reason")
        if said.endswith("."):
            return said
        return f"{said}: {REASONS.get(reason, str(reason).replace('_', ' '))}." if reason else f"{said}."
    if "archived" in data:
        return "The study was archived." if data["archived"] else "The study was taken out of the archive."
    if "changed" in data:
        names = (f"budget.{inner}" for inner in data["changed"].get("budget", {}))
        return f"Changed: {', '.join([*names, *(name for name in data['changed'] if name != 'budget')])}."
    if "enqueued" in data or "stop_requested" in data:
        return _wished(data)
    if isinstance(found := data.get("confirmation"), dict):
        return _confirmation(found)
    if data.get("reason") == "space_exhausted":
        return "The space holds no configuration that was not tried."
    return f"Updated: {', '.join(map(str, data)) or 'nothing'}."


def _wished(data: Mapping[str, Any]) -> str:
    if "stop_requested" in data:
        return f"Trial #{data['stop_requested']} was asked to stop."
    times = f", {data['repeat']} times" if data.get("repeat", 1) > 1 else ""
    return f"A configuration was asked for{times}."


def _confirmation(found: Mapping[str, Any]) -> str:
    match found.get("state"):
        case "running":
            return f"The winners are trained anew by {found.get('study')}."
        case "finished":
            return "The winners are confirmed."
        case _:
            return f"The confirmation failed: {found.get('reason')}"
