"""What a sampler proposes, held to the rules of the space, and no configuration trained more often than wanted."""

from collections import Counter
from collections.abc import Hashable
from itertools import compress
from operator import attrgetter, is_not

from hpo.domain.history import History, Params, RngKey, TrialRecord
from hpo.samplers.base import Sampler
from hpo.space.space import Space, broken_rule, canonical, points, sample

PROPOSALS = 12  # asked of the sampler before chance decides
DRAWS = 50  # at random, before the points of a finite space are gone through


class Proposals:
    """Asks a sampler until its answer may be trained. Remembers the configurations of the history, nothing else."""

    def __init__(self, sampler: Sampler, space: Space, *, repeats: int) -> None:
        self._sampler, self._space, self._repeats = sampler, space, repeats
        self._known: list[Params] = []
        self._keys: list[Hashable] = []
        self._times: Counter[Hashable] = Counter()

    def ask(self, history: History, key: RngKey) -> Params | None:
        """None if the space is finite and every configuration of it was trained as often as it may be."""
        self._count(history)
        for attempt in range(PROPOSALS):
            params = self._sampler.ask(self._space, history, RngKey(key.seed, key.number, attempt))
            if broken_rule(self._space, params) is None and self._may(params):
                return params
        for attempt in range(PROPOSALS, PROPOSALS + DRAWS):
            params = sample(self._space, RngKey(key.seed, key.number, attempt).generator())
            if self._may(params):
                return params
        return self._any_left(key)

    def _any_left(self, key: RngKey) -> Params | None:
        left = [params for params in points(self._space) if self._may(params)]
        if not left:
            return None
        return left[int(RngKey(key.seed, key.number, PROPOSALS + DRAWS).generator().integers(len(left)))]

    def _may(self, params: Params) -> bool:
        return self._times[canonical(self._space, params)] < self._repeats

    def _count(self, history: History) -> None:
        """Keep the counts in step with a history whose trials may be others than at the last call."""
        known, keys = self._known, self._keys
        for position in range(len(history), len(known)):
            self._times[keys[position]] -= 1
        del known[len(history) :], keys[len(history) :]
        changed = list(compress(range(len(known)), map(is_not, map(attrgetter("params"), history), known)))
        for position in changed:
            self._times[keys[position]] -= 1
            known[position] = history[position].params
            keys[position] = self._counted(history[position])
        for position in range(len(known), len(history)):
            known.append(history[position].params)
            keys.append(self._counted(history[position]))

    def _counted(self, record: TrialRecord) -> Hashable:
        # Trials of earlier studies (warm start) were trained elsewhere.
        key = canonical(self._space, record.params) if record.number >= 0 else None
        self._times[key] += 1
        return key
