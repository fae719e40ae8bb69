"""The parsed definition of a study, kept in the process."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import Connection, select

from hpo.domain.errors import NotFound
from hpo.domain.trial import training_seed
from hpo.engine import Engine
from hpo.spec.study import StudySpec
from hpo.storage.tables import StudyRow
from hpo.warm_start import earlier_trials


@dataclass(frozen=True, slots=True)
class Definition:
    """A study's spec as of a revision, and its engine."""

    spec: StudySpec
    engine: Engine
    revision: int

    @property
    def seed(self) -> int:
        seed = self.spec.sampler.seed
        assert seed is not None  # filled in when the study was created
        return seed

    def trial_seed(self, number: int) -> int:
        """Seed of a trial's training: differs from trial to trial, the same in every attempt."""
        return training_seed(self.seed, number)


class Definitions:
    """A bounded cache of definitions by study id; safe to use from several threads."""

    def __init__(self, size: int = 512) -> None:
        self._size = size
        self._known: OrderedDict[UUID, Definition] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, tx: Connection, study: UUID, *, revision: int = 0) -> Definition:
        """The definition as of ``revision`` or later. Raises NotFound if there is no such study.

        Whoever samples or decides names the revision that it has locked: the space may be edited, ``n_full`` extended.
        """
        with self._lock:
            known = self._known.get(study)
            if known is not None and known.revision >= revision:
                self._known.move_to_end(study)
                return known
        row = tx.execute(
            select(StudyRow.spec, StudyRow.earlier, StudyRow.revision).where(StudyRow.id == study)
        ).one_or_none()
        if row is None:
            raise NotFound(f"there is no study {study}")
        spec = StudySpec.model_validate(row.spec)
        if known is not None and spec == known.spec:  # paused, resumed, commanded: the engine has cost something
            definition = replace(known, revision=row.revision)
        else:
            definition = Definition(spec, Engine(spec, earlier_trials(row.earlier)), row.revision)
        with self._lock:
            self._known[study] = definition
            self._known.move_to_end(study)
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return definition
