"""A scrambled Sobol sequence: fills the space more evenly than random points (Sobol 1967, Owen 1998)."""

import numpy as np
from scipy.stats import qmc

from hpo.domain.history import History, Params, RngKey
from hpo.samplers.cube import Cube
from hpo.space.space import Space, sample


class SobolSearch:
    """Trial n takes the n-th point of the sequence that the study's seed scrambles.

    Every parameter has an axis of its own, so what is not active in a configuration is left out of its point.
    """

    def __init__(self) -> None:
        self._space: Space | None = None
        self._seed = 0

    def ask(self, space: Space, history: History, key: RngKey) -> Params:
        if key.attempt:  # the point cannot be used, and each point further on belongs to another trial
            return sample(space, key.generator())
        if space is not self._space or key.seed != self._seed:
            self._space, self._seed, self._cube = space, key.seed, Cube(space)
            self._sequence = qmc.Sobol(self._cube.width, scramble=True, rng=np.random.default_rng(key.seed))
        sequence = self._sequence.reset()
        if key.number:  # it cannot step by nothing
            sequence.fast_forward(key.number)
        return self._cube.decode(self._cube.snap(sequence.random(1))[0])
