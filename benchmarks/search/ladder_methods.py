"""Ladder's side: the sampler and scheduler that the service runs, under the simulator's clock."""

from collections import defaultdict
from typing import Any

import numpy as np

from benchmarks.search.tasks import Params, Task
from benchmarks.search.trace import Outcome, Tracer
from hpo.choose import resolve
from hpo.domain.events import EventType
from hpo.simulate import Epoch, Simulation, simulate
from hpo.spec.study import StudySpec


def run_ladder(config: dict[str, Any], task: Task, *, seed: int, workers: int) -> Outcome:
    """Search by ``config``, the JSON of a sampler and a scheduler without seed and resource."""
    calls: dict[int, list[Epoch]] = defaultdict(list)

    def curve(trial: int, params: Params, step: int) -> Epoch:
        loss, seconds = task.epoch(params, step)
        calls[trial].append(Epoch(loss, seconds))
        return calls[trial][-1]

    run = simulate(spec_of(config, task, seed=seed, workers=workers), curve, workers=workers)
    if run.epochs < task.budget:
        raise RuntimeError(f"{config} on {task.name} ended ({run.reason}) after {run.epochs} of {task.budget} epochs")
    return _outcome(run, calls, task.budget)


def spec_of(config: dict[str, Any], task: Task, *, seed: int, workers: int) -> StudySpec:
    """The study, ``auto`` resolved. Raises pydantic's ValidationError if there is no such sampler or scheduler.

    ``asha`` with ``first`` begins its rungs at that part of the whole training.
    """
    scheduler = config["scheduler"] | {"max_resource": task.max_resource}
    if "first" in scheduler:
        scheduler["min_resource"] = max(1, task.max_resource // scheduler.pop("first"))
    # Of the epochs counted so far some end after the budget is spent: there must be enough that do not.
    beyond = task.budget + workers * task.max_resource
    spec = StudySpec.model_validate(
        {
            "name": task.name,
            "objectives": [{"metric": "loss", "direction": "minimize"}],
            "search_space": task.search_space,
            "trainer": {"name": "external"},
            "budget": {"max_trials": task.budget * 2, "max_epochs": beyond},  # epochs end the run
            **config,
            "sampler": config["sampler"] | {"seed": seed},
            "scheduler": scheduler,
        }
    )
    return resolve(spec)


def _outcome(run: Simulation, calls: dict[int, list[Epoch]], budget: int) -> Outcome:
    """The epochs in the order in which they ended, cut at the budget."""
    ends = sorted(
        (at_s, number, position) for number, at in _epoch_ends(run, calls).items() for position, at_s in enumerate(at)
    )[:budget]
    tracer = Tracer()
    for _, number, position in ends:
        tracer.add(calls[number][position].loss)
    return Outcome(tracer.trace, len({number for _, number, _ in ends}))


def _epoch_ends(run: Simulation, calls: dict[int, list[Epoch]]) -> dict[int, list[float]]:
    """When each epoch of each trial ended, in seconds: the simulator trains up to a rung in one go."""
    starts: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for event, now_s in zip(run.events, run.times_s, strict=True):
        if event.type is EventType.TRIAL_STARTED and event.trial is not None:
            starts[event.trial].append((now_s, event.data["from"]))
    ends: dict[int, list[float]] = {}
    for number, began in starts.items():
        targets = [*(done for _, done in began[1:]), len(calls[number])]
        ends[number] = []
        for (now_s, done), target in zip(began, targets, strict=True):
            ends[number] += (now_s + np.cumsum([epoch.seconds for epoch in calls[number][done:target]])).tolist()
    return ends
