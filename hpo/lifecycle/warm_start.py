"""Collecting what earlier studies know for a new one; ``hpo.warm_start`` shows it to the sampler."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import Connection

from hpo.domain.errors import FieldError, InvalidSpec, NotFound
from hpo.domain.history import Params
from hpo.space.space import Space, sample, without_inactive
from hpo.space.values import complaint
from hpo.spec.space import FixedParam
from hpo.spec.study import StudySpec
from hpo.storage import studies
from hpo.warm_start import quantiles

Source = Sequence[tuple[Params, float]]  # params and the loss in the source's own terms


def collect(tx: Connection, project: UUID, spec: StudySpec) -> dict[str, Any]:
    """The trials that the study begins with, as ``hpo.warm_start.earlier_trials`` reads them.

    Raises InvalidSpec if a study to start from is unknown, or if nothing of what was named fits the space.
    """
    assert spec.warm_start is not None
    sources: list[Source] = []
    for index, ref in enumerate(spec.warm_start.studies):
        try:
            sources.append(_of_study(tx, project, spec, ref))
        except NotFound as error:
            raise InvalidSpec(FieldError(f"/warm_start/studies/{index}", "unknown_study", error.detail)) from error
    given = [(trial.params, spec.objective.loss(trial.value)) for trial in spec.warm_start.trials]
    trials = [one for source in (*sources, given) for one in _matched(spec, source)]
    if not trials:
        message = "none of the trials named shares a parameter and its range with this study's search space"
        raise InvalidSpec(FieldError("/warm_start", "nothing_matches", message))
    return {"resource": spec.scheduler.max_resource, "trials": trials}


def _of_study(tx: Connection, project: UUID, spec: StudySpec, ref: str) -> Source:
    """Trials of an earlier study by its own first objective, only those that were trained furthest."""
    row = studies.get(tx, project, ref)
    known = {param["name"]: param["type"] for param in row.spec["search_space"]}
    # Matched by kind, too: the number 3 of a choice is not the number 3 of a range.
    kinds = {param.name: param.type for param in spec.search_space}
    shared = {name for name, kind in kinds.items() if known.get(name) in (kind, "fixed") or kind == "fixed"}
    trials = studies.results(tx, row.id)
    return [({name: trial.params[name] for name in shared & trial.params.keys()}, trial.loss) for trial in trials]


def _matched(spec: StudySpec, source: Source) -> Iterable[dict[str, Any]]:
    """The best of a source that lie in the space, worst first, each with the quantile of its loss in the source."""
    assert spec.warm_start is not None
    space = Space.of(spec)
    ranked = sorted(zip(source, quantiles([loss for _, loss in source]), strict=True), key=lambda pair: pair[1])
    found: list[dict[str, Any]] = []
    for position, ((params, _), quantile) in enumerate(ranked):
        if len(found) == spec.warm_start.max_trials:
            break
        completed = _completed(space, params, np.random.default_rng([spec.sampler.seed or 0, position, 0xA]))
        if completed is not None:
            found.append({"params": completed, "quantile": quantile})
    return found[::-1]


def _completed(space: Space, params: Params, rng: np.random.Generator) -> Mapping[str, Any] | None:
    """The params with what they lack; None if they have nothing of the space or lie outside it.

    What is lacking is drawn at random: it then says nothing for or against any value.
    """
    searched = {param.name: param for param in space if not isinstance(param, FixedParam)}
    mine = {name: value for name, value in params.items() if name in searched}
    if not mine or any(complaint(searched[name], value) is not None for name, value in mine.items()):
        return None
    drawn = sample(space, rng)
    merged = {
        param.name: mine.get(param.name, drawn.get(param.name, getattr(param, "default", None))) for param in space
    }
    return without_inactive(space, {name: value for name, value in merged.items() if value is not None})
