"""What a sampler is: a pure function from the space, the history and a stream of random numbers to params."""

from typing import Protocol

from hpo.domain.history import History, Params, RngKey
from hpo.space.space import Space


class Sampler(Protocol):
    def ask(self, space: Space, history: History, key: RngKey) -> Params:
        """Params of trial ``key.number``. The same arguments give the same answer in any process."""
        ...
