"""One study's search: sampler and scheduler composed. Pure: no storage, no clock."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

from hpo.domain.history import History, Params, RngKey, TrialRecord
from hpo.proposals import Proposals
from hpo.samplers.base import Sampler
from hpo.schedulers.base import Past, RungLog, StudyView, Work
from hpo.schedulers.build import build_scheduler
from hpo.schedulers.composed import Arrival, Composed, Verdict
from hpo.schedulers.explore import explore
from hpo.schedulers.rules.build import build_rules
from hpo.space.space import Space, fill_defaults
from hpo.spec.space import FixedParam
from hpo.spec.study import StudySpec
from hpo.warm_start import Earlier


class Engine:
    """Decides and proposes for one study. Keep it as long as the study runs: its sampler remembers conversions."""

    def __init__(self, spec: StudySpec, earlier: Sequence[TrialRecord] = ()) -> None:
        """``earlier``: trials of other studies to begin with, their losses as quantiles (``hpo.warm_start``).

        Raises ValueError if the sampler's seed is not filled in: without it no answer could be given again.
        """
        if spec.sampler.seed is None:
            raise ValueError("the sampler's seed must be chosen before a study starts")
        self.spec = spec
        self.seed = spec.sampler.seed
        self.space = Space.of(spec)
        self._earlier = Earlier(earlier)
        self.scheduler = Composed(build_scheduler(spec), build_rules(spec), objectives=len(spec.objectives))

    @property
    def full(self) -> int:
        """Resource of a whole trial."""
        return self.spec.scheduler.max_resource

    def bracket_of(self, number: int) -> int:
        return self.scheduler.main.bracket_of(number)

    def stops(self, bracket: int) -> tuple[int, ...]:
        """All resources at which a trial of the bracket is answered, rising; the last is ``full``."""
        return self.scheduler.stops(bracket)

    def first_target(self, bracket: int) -> int:
        return self.stops(bracket)[0]

    def decide(self, arrival: Arrival, past: Callable[[], Past], log: RungLog) -> Verdict:
        return self.scheduler.decide(arrival, past, log)

    def next_work(self, log: RungLog, view: StudyView) -> Work:
        return self.scheduler.next_work(log, view)

    def ask(self, history: History, number: int) -> Params | None:
        """Params of trial ``number``, given the trials before it as they stood when it was asked for.

        None if the space holds no configuration that may still be trained.
        """
        return self._proposals.ask(self._earlier.before(self._filled(history)), RngKey(self.seed, number))

    def explored(self, source: Params, trial: int, rung: int) -> Params:
        """Params of a population's member that goes on from ``source`` after ``rung``."""
        return explore(self.spec, self.space, source, trial=trial, rung=rung)

    def _filled(self, history: History) -> History:
        """The history with the defaults of parameters that the space got later."""
        if all(isinstance(param, FixedParam) or param.default is None for param in self.space):
            return history
        return [replace(record, params=fill_defaults(self.space, record.params)) for record in history]

    @cached_property
    def _proposals(self) -> Proposals:
        return Proposals(self._sampler, self.space, repeats=self.spec.repeats)

    @cached_property
    def _sampler(self) -> Sampler:
        # Built at the first ask: whoever only decides (the API) is spared the half second of importing Optuna.
        from hpo.samplers.build import build_sampler

        return build_sampler(self.spec)
