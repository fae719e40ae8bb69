"""Random search (Bergstra and Bengio 2012): every trial is drawn on its own."""

from hpo.domain.history import History, Params, RngKey
from hpo.space.space import Space, sample


class RandomSearch:
    def ask(self, space: Space, history: History, key: RngKey) -> Params:
        return sample(space, key.generator())
