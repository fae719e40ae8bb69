"""Nothing is proposed: the study trains what is enqueued."""

from typing import NoReturn

from hpo.domain.history import History, RngKey
from hpo.space.space import Space


class Manual:
    def ask(self, space: Space, history: History, key: RngKey) -> NoReturn:
        """Raises ValueError: there is nothing to ask for."""
        raise ValueError(f"a manual study proposes nothing, asked for trial {key.number}: enqueue its configuration")
