"""An Optuna study as the API takes it in: its space from the distributions, its trials in pages."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from api.schemas.base import metric_out
from api.schemas.imports import MAX_PAGE, MAX_STEPS, StudyImport, TrialImport
from ladder.errors import LocalError
from ladder.optuna_trials import load, told_plainly

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

EXAMPLE = "for example ladder import optuna sqlite:///old.db --study my-study"
PAGE_CHARACTERS = 500_000  # of JSON: a request may have 1 MB
PLAIN = (bool, int, float, str)
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "cancelled", "WAITING": "cancelled"}
CONSTRAINTS = "constraints"  # Optuna's name for them among the attributes of a trial


@dataclass(frozen=True, slots=True)
class Taken:
    """``study`` is the spec; ``notes`` say what could not be taken over as it was."""

    study: dict[str, Any]
    source: str
    trials: list[TrialImport]
    notes: list[str]


def read(url: str, study: str | None, name: str | None) -> Taken:
    """The study of an Optuna storage. Raises LocalError if it cannot be read or has nothing to take in."""
    with told_plainly(url, EXAMPLE):
        found = load(url, study or "", EXAMPLE)
        trials = found.get_trials(deepcopy=False)
    if not any(trial.params for trial in trials):
        raise LocalError(f"the Optuna study {found.study_name!r} has no trial with parameters", EXAMPLE)
    notes: list[str] = []
    names = _names(trials, notes)
    shift = int(any(0 in trial.intermediate_values for trial in trials))
    if shift:
        notes.append("steps are counted from 1 here: Optuna's step 0 is epoch 1")
    last = max((step for trial in trials for step in trial.intermediate_values), default=0) + shift
    objectives = _objectives(found)
    spec = {
        "name": name or _safe(found.study_name, "-")[:100],
        "description": f"imported from Optuna's study {found.study_name!r}"[:10_000],
        "objectives": objectives,
        "constraints": _constraints(trials),
        "search_space": [_param(names[one], _distributions(trials, one)) for one in names],
        "scheduler": {"type": "fifo", "max_resource": max(1, last)},
        "trainer": {"name": "external"},
        "budget": {"max_trials": max(1, len(trials))},
    }
    unended = sum(trial.state.name in ("RUNNING", "WAITING") for trial in trials)
    if unended:
        notes.append(f"{unended} trials had not ended and count as cancelled")
    longest = max((len(trial.intermediate_values) for trial in trials), default=0)
    if longest > MAX_STEPS:
        notes.append(f"of curves with up to {longest} steps {MAX_STEPS} are taken, evenly spread")
    taken = [_trial(trial, names, shift) for trial in trials]
    return Taken(spec, f"optuna: {found.study_name}"[:200], taken, notes)


def pages(taken: Taken) -> Iterator[StudyImport]:
    """The trials in pages that a request can hold, at least one; each with the whole definition."""
    page: list[TrialImport] = []
    size = 0
    for trial in taken.trials:
        own = len(trial.model_dump_json(exclude_unset=True))
        if page and (len(page) == MAX_PAGE or size + own > PAGE_CHARACTERS):
            yield _page(taken, page)
            page, size = [], 0
        page.append(trial)
        size += own
    yield _page(taken, page)


def _page(taken: Taken, trials: Sequence[TrialImport]) -> StudyImport:
    try:
        return StudyImport.model_validate({"study": taken.study, "source": taken.source, "trials": trials})
    except ValidationError as error:
        first = error.errors()[0]
        at = "/".join(map(str, first["loc"]))
        raise LocalError(f"this Optuna study does not fit: {at}: {first['msg']}", EXAMPLE) from error


def _objectives(study: "Study") -> list[dict[str, Any]]:
    directions = [one.name.lower() for one in study.directions]
    several = len(directions) > 1
    given = study.metric_names or [f"value_{index}" if several else "value" for index in range(len(directions))]
    return [{"metric": metric, "direction": way} for metric, way in zip(given, directions, strict=True)]


def _constraints(trials: Iterable["FrozenTrial"]) -> list[dict[str, Any]]:
    """Optuna takes a trial for feasible whose every constraint is at most 0."""
    most = max((len(trial.system_attrs.get(CONSTRAINTS) or ()) for trial in trials), default=0)
    return [{"metric": f"constraint_{index}", "op": "<=", "value": 0.0} for index in range(most)]


def _names(trials: Iterable["FrozenTrial"], notes: list[str]) -> dict[str, str]:
    """Names of parameters by Optuna's, which may hold any character."""
    found: dict[str, str] = {}
    for theirs in dict.fromkeys(name for trial in trials for name in trial.distributions):
        safe = _safe(theirs, "_")
        safe = (safe if re.match(r"[A-Za-z_]", safe) else f"_{safe}")[:90]
        ours, count = safe, 2
        while ours in found.values():
            ours, count = f"{safe}_{count}", count + 1
        if ours != theirs:
            notes.append(f"parameter {theirs!r} is called {ours!r} here")
        found[theirs] = ours
    return found


def _safe(name: str, replacement: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]" if replacement == "_" else r"[^A-Za-z0-9._-]|^[^A-Za-z0-9]", replacement, name)


def _distributions(trials: Iterable["FrozenTrial"], name: str) -> list["BaseDistribution"]:
    return [trial.distributions[name] for trial in trials if name in trial.distributions]


def _param(name: str, found: Sequence[Any]) -> dict[str, Any]:
    """The range that holds all of what the trials drew from: a study may change its ranges on the way."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    first = found[0]
    if isinstance(first, CategoricalDistribution):
        return {"name": name, "type": "categorical", "choices": [_plain(choice) for choice in first.choices]}
    low, high = min(one.low for one in found), max(one.high for one in found)
    if low == high:
        return {"name": name, "type": "fixed", "value": low}
    grids = {(one.low, one.step) for one in found}
    step = first.step if len(grids) == 1 else None
    if isinstance(first, IntDistribution):
        return {"name": name, "type": "int", "low": low, "high": high, "log": first.log, "step": step or 1}
    return {"name": name, "type": "float", "low": low, "high": high, "log": first.log, "step": step}


def _plain(value: Any) -> Any:
    """A choice as JSON has it: None and objects by their text."""
    unheard = not isinstance(value, PLAIN) or (isinstance(value, float) and not math.isfinite(value))
    return str(value)[:500] if unheard else value


def _trial(trial: "FrozenTrial", names: dict[str, str], shift: int) -> TrialImport:
    curve = [(step + shift, metric_out(value)) for step, value in sorted(trial.intermediate_values.items())]
    if len(curve) > MAX_STEPS:
        last = len(curve) - 1
        curve = [curve[round(index * last / (MAX_STEPS - 1))] for index in range(MAX_STEPS)]
    bounds = enumerate(trial.system_attrs.get(CONSTRAINTS) or ())
    given = {
        "number": trial.number,
        "state": STATES[trial.state.name],
        "params": {names[name]: _plain(value) for name, value in trial.params.items()},
        "values": None if trial.values is None else [metric_out(value) for value in trial.values],
        "curve": curve,
        "metrics": {f"constraint_{index}": metric_out(value) for index, value in bounds},
        "error": trial.system_attrs.get("fail_reason"),
        # Optuna keeps local time without a zone.
        "started_at": trial.datetime_start and trial.datetime_start.astimezone(),
        "finished_at": trial.datetime_complete and trial.datetime_complete.astimezone(),
    }
    return TrialImport.model_validate({name: value for name, value in given.items() if value is not None})
