"""The parsed definition of a study: what never changes once it is stored, kept in the process."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, select

from hpo.domain.errors import NotFound
from hpo.engine import Engine
from hpo.spec.study import StudySpec
from hpo.storage.tables import StudyRow


@dataclass(frozen=True, slots=True)
class Definition:
    """A study's spec and its engine. Only budget, labels and description of a spec may change, none is used here."""

    spec: StudySpec
    engine: Engine

    @property
    def seed(self) -> int:
        seed = self.spec.sampler.seed
        assert seed is not None  # filled in when the study was created
        return seed

    def trial_seed(self, number: int) -> int:
        """Seed of a trial's training: differs from trial to trial, the same in every attempt."""
        return (self.seed * 1_000_003 + number) % 2**31


class Definitions:
    """A bounded cache of definitions by study id; safe to use from several threads."""

    def __init__(self, size: int = 512) -> None:
        self._size = size
        self._known: OrderedDict[UUID, Definition] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, tx: Connection, study: UUID) -> Definition:
        """Raises NotFound if there is no such study."""
        with self._lock:
            known = self._known.get(study)
            if known is not None:
                self._known.move_to_end(study)
                return known
        stored = tx.execute(select(StudyRow.spec).where(StudyRow.id == study)).scalar_one_or_none()
        if stored is None:
            raise NotFound(f"there is no study {study}")
        spec = StudySpec.model_validate(stored)
        definition = Definition(spec, Engine(spec))
        with self._lock:
            self._known[study] = definition
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return definition
