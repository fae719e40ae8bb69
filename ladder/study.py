"""The study that a user holds in Python, and how its spec is said in keyword arguments."""

import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from api.schemas.studies import BestTrial, ConfirmationRead, RungRead, StudyCreate, StudyPatch, StudyRead
from api.schemas.trials import EventRead, MetricRead, TrialRead
from hpo.domain.study import STUDY_ENDED, StudyState
from hpo.spec.search import Budget
from ladder.errors import WaitTimeout
from ladder.space import Domain

if TYPE_CHECKING:
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

    def trials(self, *, state: str | None = None) -> list[TrialRead]:
        return self._studies.trials(self.id, state=state)

    def metrics(self, number: int) -> list[MetricRead]:
        return self._studies.metrics(self.id, number)

    def events(self, *, after: int | None = None) -> Iterator[EventRead]:
        return self._studies.events(self.id, after=after)

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

    def wait(
        self, *, timeout: float | str | timedelta | None = None, goal: bool = False, confirmed: bool = False
    ) -> "Study":
        """Wait until the study has ended, or with ``goal`` until its best value reaches the objective's goal.

        With ``confirmed`` until its winners are trained anew and the best of them is tested. ``timeout`` is in seconds,
        or text such as "90s" or "2h". Raises WaitTimeout when it has passed, and at once when what is waited for cannot
        come any more: the study has ended without its goal, or its confirmation has failed.
        """
        deadline = None if timeout is None else time.monotonic() + seconds(timeout)
        while True:
            info = self.refresh()
            if goal and goal_reached(info):
                return self
            if confirmed:
                if (never := unconfirmed(info)) is not None:
                    raise WaitTimeout(never)
                if info.confirmation is not None and info.confirmation.state == "finished":
                    return self
            elif info.state in STUDY_ENDED:
                if goal:
                    raise WaitTimeout(f"study {info.name} ended {info.state} without reaching its goal")
                return self
            if deadline is not None and time.monotonic() >= deadline:
                still = f"{info.state}, its winners unconfirmed," if confirmed else f"{info.state}"
                raise WaitTimeout(f"study {info.name} is still {still} after {timeout}")
            time.sleep(POLL_S)

    def _then(self, info: StudyRead) -> "Study":
        self.info = info
        return self

    def __repr__(self) -> str:
        return f"<Study {self.info.name} {self.info.state}>"


def goal_reached(info: StudyRead) -> bool:
    """Whether the best value is at least as good as the goal; False without a goal."""
    goal = info.objective.goal
    if goal is None or info.best is None:
        return False
    return info.objective.loss(info.best.value) <= info.objective.loss(goal)


def unconfirmed(info: StudyRead) -> str | None:
    """Why the winners of the study will never be confirmed; None while they may be, or are."""
    if info.confirm is None:
        return f"study {info.name} does not ask to be confirmed"
    if info.confirmation is not None and info.confirmation.state == "failed":
        return f"the winners of study {info.name} were not confirmed: {info.confirmation.reason}"
    if info.state in STUDY_ENDED and info.state is not StudyState.FINISHED:
        return f"study {info.name} ended {info.state}, its winners unconfirmed"
    return None


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
