"""The peers' side: the same trials in Optuna, on the same Postgres (RDBStorage) and the same Redis (JournalStorage)."""

import time
import warnings
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.pruners import SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalRedisBackend
from optuna.trial import TrialState, create_trial

from benchmarks.cell import MIN_RESOURCE, PARAMS, REDUCTION_FACTOR, REPORTS, STEPS, Cell, Side, WorkerLog, loss
from ladder.stack import LocalStack

STUDY = "benchmark"
DISTRIBUTIONS: dict[str, BaseDistribution] = {param: FloatDistribution(0.0, 1.0) for param in PARAMS}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a filled study lies. ``place`` is a database's URL or a key prefix in the Redis at ``redis_url``."""

    side: Side
    place: str
    redis_url: str
    sampler: str
    began_at: float


class OptunaWorker:
    """Asks, reports at every rung, asks whether to stop, tells."""

    def __init__(self, index: int, target: Target) -> None:
        self._target = target
        self._index = index

    def connect(self) -> None:
        _quiet()
        if not hasattr(self, "_study"):
            self._study = optuna.load_study(
                study_name=STUDY,
                storage=_storage(self._target.side, self._target.place, self._target.redis_url),
                sampler=_sampler(self._target.sampler, self._index),
                pruner=SuccessiveHalvingPruner(min_resource=MIN_RESOURCE, reduction_factor=REDUCTION_FACTOR),
            )

    def run_trial(self, log: WorkerLog) -> None:
        began = time.monotonic()
        trial = self._study.ask(DISTRIBUTIONS)
        log.call("ask", began)
        value, state = 0.0, TrialState.COMPLETE
        for step in STEPS:
            value = loss(self._target.began_at)
            began = time.monotonic()
            trial.report(value, step)
            pruned = trial.should_prune()
            log.call("report", began)
            log.counts["reports"] += 1
            if pruned:
                log.counts["cut_short"] += 1
                state = TrialState.PRUNED
                break
        began = time.monotonic()
        self._study.tell(trial, value, state)
        log.call("tell", began)


def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Both the multivariate option and the Redis backend are marked so.
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)


def _sampler(kind: str, seed: int) -> BaseSampler:
    if kind == "random":
        return RandomSampler(seed=seed)
    return TPESampler(multivariate=True, n_startup_trials=10, seed=seed)


def _storage(side: Side, place: str, redis_url: str) -> BaseStorage:
    if side == "rdb":
        return RDBStorage(place)
    return JournalStorage(JournalRedisBackend(redis_url, prefix=place))


class Templates:
    """Studies with finished trials, filled once by Optuna itself for each size and copied for every cell."""

    def __init__(self, stack: LocalStack) -> None:
        _quiet()
        self._stack = stack
        self._made: set[tuple[Side, int]] = set()

    def prepare(self, cell: Cell) -> Target:
        """A fresh copy of the study of the cell's size."""
        template = f"optuna_{cell.size}"
        if (cell.side, cell.size) not in self._made:
            self._make(cell.side, template, cell.size)
            self._made.add((cell.side, cell.size))
        copy = f"{template}_{uuid4().hex[:8]}"
        if cell.side == "rdb":
            self._stack.postgres.create_database(copy, template=template)
            place = self._stack.postgres.url(copy)
        else:
            _copy_journal(self._stack.redis.client(), template, copy)
            place = copy
        return Target(cell.side, place, self._stack.redis_url, cell.sampler, time.monotonic())

    def finish(self, target: Target) -> None:
        """Delete a copy."""
        if target.side == "rdb":
            self._stack.postgres.drop_database(target.place.split("?", 1)[0].rsplit("/", 1)[1])
            return
        client = self._stack.redis.client()
        keys = list(client.scan_iter(f"{target.place}:*", count=5000))
        for first in range(0, len(keys), 1000):
            client.unlink(*keys[first : first + 1000])
        client.close()

    def _make(self, side: Side, template: str, size: int) -> None:
        if side == "rdb":
            self._stack.postgres.create_database(template)
        place = self._stack.postgres.url(template) if side == "rdb" else template
        storage = _storage(side, place, self._stack.redis_url)
        study = optuna.create_study(study_name=STUDY, storage=storage, direction="minimize")
        study.add_trials(_finished(size))
        if isinstance(storage, RDBStorage):
            storage.engine.dispose()  # a database that is copied must have nobody connected


def _finished(size: int) -> list[optuna.trial.FrozenTrial]:
    """Complete trials as the pruner leaves them: a value per rung, and the mark of each rung that was passed.

    Each beat those before it, as in the studies that ``ladder_side.fill`` makes.
    """
    random = np.random.default_rng(7)
    trials = []
    for number in range(size):
        losses = [2.0 - (number + float(part)) / size for part in random.random(REPORTS)]
        marks: dict[str, Any] = {f"completed_rung_{rung}": value for rung, value in enumerate(losses)}
        trials.append(
            create_trial(
                value=losses[-1],
                params={param: float(random.random()) for param in PARAMS},
                distributions=DISTRIBUTIONS,
                intermediate_values=dict(zip(STEPS, losses, strict=True)),
                system_attrs=marks,
            )
        )
    return trials


def _copy_journal(client: Any, source: str, copy: str) -> None:
    """Copy all keys under one prefix to another, the log and its snapshot."""
    keys = list(client.scan_iter(f"{source}:*", count=5000))
    for first in range(0, len(keys), 1000):
        some = keys[first : first + 1000]
        values = client.mget(some)
        prefix = len(source.encode())
        client.mset({copy.encode() + key[prefix:]: value for key, value in zip(some, values, strict=True)})
    client.close()
