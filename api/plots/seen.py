"""What the drawings of one study are made from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row

from hpo.analysis.importance import importance, searched
from hpo.analysis.observations import Level, Observation
from hpo.space.definition import Space
from hpo.spec.search import Objective
from hpo.spec.space import Param
from hpo.spec.study import StudySpec
from hpo.storage.figures import Sample

NO_TRIALS = "no trial has reported a value yet: start a worker, or look at the study's conditions for what it waits for"
NO_LEVEL = (
    "no trial has reached a rung yet, and only there are trials compared: the best so far is in the history, the rest"
    " comes with the first rung"
)


@dataclass(frozen=True, slots=True)
class Ask:
    """What was asked for: ``which`` objective, ``params`` of the space, ``trials`` by number, a ``metric``."""

    which: int = 0
    params: tuple[Param, ...] = ()
    trials: tuple[int, ...] = ()
    metric: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """The study's ``head``, and a ``sample`` of its trials at the ``level`` where they are compared."""

    spec: StudySpec
    head: Row[Any]
    level: Level | None = None
    observations: Sequence[Observation] = ()
    sample: Sample = field(default_factory=Sample)

    @property
    def n_trials(self) -> int:
        return self.level.entries if self.level is not None else 0

    def objective(self, ask: Ask) -> Objective:
        return self.spec.objectives[ask.which]

    def chosen(self, ask: Ask, most: int) -> tuple[Param, ...]:
        """The parameters asked for that some trial has; without any the most important ones, in the space's order."""
        space = Space.of(self.spec)
        there = {name for one in self.observations for name in one.params}
        if ask.params:
            return tuple(param for param in ask.params if param.name in there)
        params = [param for param in searched(space) if param.name in there]
        if len(params) <= most:
            return tuple(params)
        found = importance(space, self.objective(ask), self.observations, which=ask.which, method="ped_anova")
        first = [param.name for param in params]
        top = set(sorted(first, key=lambda name: -found.values.get(name, 0.0))[:most])
        return tuple(param for param in params if param.name in top)

    @property
    def sampling(self) -> str | None:
        """In words, which of the trials are shown where not all are."""
        return told(self.sample) if self.n_trials > self.sample.size else None


def told(sample: Sample) -> str:
    parts = [(sample.best, "best"), (sample.newest, "newest")]
    said = [f"the {count} {word}" for count, word in parts if count]
    return " and ".join([*said, f"{sample.spread} spread evenly over the study"] if sample.spread else said)
