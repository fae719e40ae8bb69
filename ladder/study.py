"""The study that a user holds in Python, and how its spec is said in keyword arguments."""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from api.schemas.analysis import ImportanceRead
from api.schemas.studies import (
    BestTrial,
    ConfirmationRead,
    ParetoFront,
    RungRead,
    StudyCreate,
    StudyPatch,
    StudyRead,
)
from api.schemas.trials import EventRead, MetricRead
from hpo.domain.study import StudyState
from hpo.spec.search import Budget
from ladder.errors import WaitTimeout
from ladder.lists import TrialList, cell, html_table
from ladder.plots import Plot
from ladder.space import Domain
from ladder.targets import Target

if TYPE_CHECKING:
    from ladder.result_calls import Format, Method, What
    from ladder.studies import Studies

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
POLL_S = 0.5


class Study:
    """A study on the server. ``info`` is how it stood when it was last read; the other members ask anew."""

    def __init__(self, studies: "Studies", info: StudyRead) -> None:
        self._studies = studies
        self.info = info

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def id(self) -> str:
        return str(self.info.id)

    @property
    def state(self) -> StudyState:
        return self.refresh().state

    @property
    def best(self) -> BestTrial | None:
        """The best trial so far; None while no trial has a value."""
        return next(iter(self._studies.best(self.id)), None)

    @property
    def confirmation(self) -> ConfirmationRead | None:
        """What became of the winners, trained anew; None before the search has ended, and where nobody asked."""
        return self.refresh().confirmation

    @property
    def rungs(self) -> list[RungRead]:
        return self._studies.rungs(self.id)

    def refresh(self) -> StudyRead:
        self.info = self._studies.read(self.id)
        return self.info

    def trials(self, *, state: str | None = None, where: Sequence[str] = (), order_by: str | None = None) -> TrialList:
        """All trials, or those in a state and under conditions such as ``params.lr:lt:0.01``; ``.to_pandas()``."""
        return self._studies.trials(self.id, state=state, where=where, order_by=order_by)

    def metrics(self, number: int) -> list[MetricRead]:
        return self._studies.metrics(self.id, number)

    def events(self, *, after: int | None = None) -> Iterator[EventRead]:
        return self._studies.events(self.id, after=after)

    def pareto(self) -> ParetoFront:
        """The trials that no other beats in every objective."""
        return self._studies.pareto(self.id)

    def importance(self, *, method: "Method" = "ped_anova", objective: int = 0) -> ImportanceRead:
        """How much each parameter matters; waits where it is computed in the background."""
        return self._studies.importance(self.id, method=method, objective=objective)

    def plot(self, kind: str, *, params: Sequence[str] = (), objective: int | None = None) -> Plot:
        """A figure such as history, curves, parallel or contour: shown by a notebook, drawn by ``.to_plotly()``."""
        return self._studies.plot(self.id, kind, params=",".join(params) or None, objective=objective)

    def export(self, to: str | Path, *, what: "What" = "trials", format: "Format | None" = None) -> Path:
        """Write trials, metrics or decisions into a file; its name's ending says the format unless one is given."""
        path = Path(to)
        return self._studies.export(self.id, path, what=what, format=format or format_of(path))

    def enqueue(self, params: Mapping[str, Any], *, repeat: int = 1) -> int:
        """Have a configuration trained before what the sampler proposes; returns how many wait."""
        return self._studies.enqueue(self.id, params, repeat=repeat)

    def patch(self, patch: StudyPatch) -> "Study":
        self.info = self._studies.patch(self.id, patch)
        return self

    def start(self) -> "Study":
        return self._then(self._studies.start(self.id))

    def pause(self) -> "Study":
        return self._then(self._studies.pause(self.id))

    def resume(self) -> "Study":
        return self._then(self._studies.resume(self.id))

    def stop(self) -> "Study":
        return self._then(self._studies.stop(self.id))

    def cancel(self) -> "Study":
        return self._then(self._studies.cancel(self.id))

    def extend(self, *, n_full: int | None = None, **budget: float | None) -> "Study":
        """Go on with the study, also a finished one, with a larger budget: ``extend(max_trials=200)``."""
        return self._then(self._studies.extend(self.id, n_full=n_full, **budget))

    def clone(self, name: str, *, changes: Mapping[str, Any] | None = None, start: bool | None = None) -> "Study":
        """A new study like this one; ``changes`` is a part of a spec, merged into this one's."""
        return self._studies.clone(self.id, name, changes=changes, start=start)

    def archive(self) -> "Study":
        """Leave the ended study out of lists."""
        return self._then(self._studies.archive(self.id))

    def unarchive(self) -> "Study":
        return self._then(self._studies.unarchive(self.id))

    def delete(self, *, force: bool = False) -> None:
        """Delete the study with all that it holds; with ``force`` also while it runs."""
        self._studies.delete(self.id, force=force)

    def wait(self, *, timeout: float | str | timedelta | None = None, until: str = "ended") -> "Study":
        """Wait until the study has come so far: ``ended`` (in whatever way), ``finished``, ``goal`` (its best value
        reaches the objective's goal), ``confirmed`` (its winners are trained anew and tested) or ``trials=N`` (as many
        have ended).

        ``timeout`` is in seconds, or text such as "90s" or "2h". Raises WaitTimeout when it has passed, and at once
        when what is waited for cannot come any more; ValueError if ``until`` or ``timeout`` cannot be read.
        """
        target = Target.parse(until)
        deadline = None if timeout is None else time.monotonic() + seconds(timeout)
        while not target.reached(self.refresh()):
            if (never := target.never(self.info)) is not None:
                raise WaitTimeout(never)
            if deadline is not None and time.monotonic() >= deadline:
                still = f"{self.info.state}, its winners unconfirmed," if until == "confirmed" else self.info.state
                raise WaitTimeout(f"study {self.info.name} is still {still} after {timeout}")
            time.sleep(POLL_S)
        return self

    def _then(self, info: StudyRead) -> "Study":
        self.info = info
        return self

    def __repr__(self) -> str:
        return f"<Study {self.info.name} {self.info.state}>"

    def _repr_html_(self) -> str:
        info = self.info
        counts = " ".join(f"{name} {count}" for name, count in info.counts.model_dump().items() if count)
        rows: list[tuple[str, object]] = [
            ("state", info.state if info.state_reason is None else f"{info.state} ({info.state_reason})"),
            *(("objective", f"{one.direction} {one.metric}") for one in info.objectives),
            ("trials", counts or None),
            ("epochs", info.usage.epochs),
        ]
        if info.best is not None:
            params = " ".join(f"{name}={cell(value)}" for name, value in info.best.params.items())
            rows.append(("best", f"{cell(info.best.value)} trial {info.best.number}: {params}"))
        rows += [(one.type, one.message) for one in info.conditions if not one.status]
        return f"<strong>{escape(info.name)}</strong>{html_table(('', ''), rows)}"


def seconds(duration: float | str | timedelta) -> float:
    """Seconds of a duration such as 90, "90s", "15m", "2h". Raises ValueError if it cannot be read."""
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if isinstance(duration, (int, float)):
        return float(duration)
    text = duration.strip()
    unit = text.lstrip("0123456789.")
    if unit and unit not in _UNITS:
        raise ValueError(f"a duration is a number with one of {', '.join(_UNITS)}, got {duration!r}")
    try:
        return float(text.removesuffix(unit)) * _UNITS.get(unit, 1.0)
    except ValueError as error:
        raise ValueError(f"a duration is a number with one of {', '.join(_UNITS)}, got {duration!r}") from error


def spec_of(
    spec: StudyCreate | Mapping[str, Any] | str,
    *,
    objective: tuple[str, str] | Mapping[str, Any] | None = None,
    space: Mapping[str, Domain] | None = None,
    trainer: str | Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    queue: str | None = None,
    **rest: Any,
) -> StudyCreate | Mapping[str, Any]:
    """The spec to send: ``spec`` as it is, or built from the study's name and the keyword arguments.

    ``objective`` is (metric, direction); ``space`` maps names to ``ladder.space`` domains; ``trainer`` is a name, to
    which ``config`` and ``queue`` belong; fields of the budget (``max_trials``, …) and all other fields of the spec
    (``scheduler``, ``sampler``, …) go in by name. The server checks the whole.
    """
    if not isinstance(spec, str):
        return spec
    built: dict[str, Any] = {"name": spec}
    if objective is not None:
        built["objectives"] = [
            {"metric": objective[0], "direction": objective[1]} if isinstance(objective, tuple) else objective
        ]
    if space is not None:
        built["search_space"] = [domain.named(name).model_dump(mode="json") for name, domain in space.items()]
    if trainer is not None:
        built["trainer"] = {"name": trainer} if isinstance(trainer, str) else dict(trainer)
        if config is not None:
            built["trainer"]["config"] = dict(config)
        if queue is not None:
            built["trainer"]["resources"] = {"queue": queue}
    budget = {name: rest.pop(name) for name in list(rest) if name in Budget.model_fields}
    if budget:
        built["budget"] = {**rest.pop("budget", {}), **budget}
    return {**built, **rest}


def format_of(file: Path) -> "Format":
    """The format that the file's ending stands for. Raises ValueError if it stands for none."""
    match file.suffix:
        case ".csv" | ".jsonl" | ".parquet":
            return cast("Format", file.suffix[1:])
        case ".optuna":
            return "optuna"
    raise ValueError(f"{file.name} does not say its format: end it in .csv, .jsonl, .parquet or .optuna, or name one")
