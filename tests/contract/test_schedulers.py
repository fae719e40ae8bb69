"""What every scheduler must keep, whatever it decides."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from hpo.domain.merit import WORST
from hpo.schedulers.asha import PromotingAsha, StoppingAsha
from hpo.schedulers.base import (
    Action,
    Finished,
    NewTrial,
    Past,
    Promote,
    RungEntry,
    RungLog,
    Scheduler,
    StudyView,
    Wait,
)
from hpo.schedulers.build import build_scheduler
from hpo.schedulers.composed import Arrival, Composed
from hpo.schedulers.fifo import Fifo
from hpo.schedulers.hyperband import Hyperband
from hpo.schedulers.pbt import Pbt
from hpo.schedulers.rung_log import MemoryRungLog
from hpo.schedulers.successive_halving import SuccessiveHalving
from hpo.spec.study import StudySpec

MAKERS: dict[str, Callable[[], Scheduler]] = {
    "fifo": lambda: Fifo(9),
    "asha promote": lambda: PromotingAsha((1, 3, 9), 3),
    "asha stop": lambda: StoppingAsha((1, 3, 9), 3),
    "asha of one level": lambda: PromotingAsha((9,), 3),
    "asha with a quota": lambda: PromotingAsha((1, 3, 9), 3, 2),
    "asha in brackets": lambda: PromotingAsha((1, 3, 9), 3, brackets=3, seed=1),
    "asha stop in brackets": lambda: StoppingAsha((1, 3, 9), 3, brackets=2, seed=1),
    "successive halving": lambda: SuccessiveHalving((1, 3, 9), 3, 9),
    "successive halving of one level": lambda: SuccessiveHalving((9,), 3, 1),
    "hyperband": lambda: Hyperband((1, 3, 9), 3),
    "pbt": lambda: Pbt((3, 6, 9), 10, 0.25, 1),
}


@pytest.fixture(params=MAKERS)
def scheduler(request: pytest.FixtureRequest) -> Scheduler:
    return MAKERS[request.param]()


def view(*, created: int = 0, queued: int = 0, running: int = 0, complete: int = 0) -> StudyView:
    return StudyView(created=created, max_trials=10, queued=queued, running=running, complete=complete)


def brackets(scheduler: Scheduler) -> set[int]:
    return {scheduler.bracket_of(number) for number in range(40)}


def test_every_ladder_rises_to_the_full_resource(scheduler: Scheduler) -> None:
    for bracket in brackets(scheduler):
        ladder = scheduler.ladder(bracket)
        assert list(ladder) == sorted(set(ladder))
        assert ladder[-1] == 9


def test_brackets_count_from_0_and_are_the_same_for_the_same_number(scheduler: Scheduler) -> None:
    assert min(brackets(scheduler)) == 0
    assert [scheduler.bracket_of(number) for number in range(40)] == [scheduler.bracket_of(n) for n in range(40)]


def test_an_empty_study_starts_a_trial(scheduler: Scheduler) -> None:
    assert scheduler.next_work(MemoryRungLog(), view()) == NewTrial()


def test_no_trial_is_created_beyond_the_most_allowed(scheduler: Scheduler) -> None:
    assert scheduler.next_work(MemoryRungLog(), view(created=10, running=1)) == Wait()
    assert scheduler.next_work(MemoryRungLog(), view(created=10, queued=1)) == Wait()
    assert scheduler.next_work(MemoryRungLog(), view(created=10)) == Finished("max_trials")


def test_the_last_level_completes_even_the_worst_trial(scheduler: Scheduler) -> None:
    for bracket in brackets(scheduler):
        last = len(scheduler.ladder(bracket)) - 1
        log = MemoryRungLog(RungEntry(number, bracket, last, float(number), number) for number in range(20))
        assert scheduler.on_report(RungEntry(20, bracket, last, 1e9, 20), log).action is Action.COMPLETE


def test_an_ended_trial_goes_on_from_no_rung(scheduler: Scheduler) -> None:
    for bracket in brackets(scheduler):
        for rung in range(len(scheduler.ladder(bracket))):
            ended = RungEntry(0, bracket, rung, WORST, 0)
            assert scheduler.on_report(ended, MemoryRungLog()).action is Action.STOP


def test_a_target_comes_with_continue_only_and_is_the_next_level(scheduler: Scheduler) -> None:
    for bracket in brackets(scheduler):
        ladder = scheduler.ladder(bracket)
        log = MemoryRungLog()
        for rung in range(len(ladder)):
            for number, loss in enumerate([5.0, 4.0, 3.0, 9.0, 1.0, 1.0, 0.0]):
                entry = RungEntry(number, bracket, rung, loss, 10 * rung + number)
                decision = scheduler.on_report(entry, log)
                log.add(entry, waiting=decision.action is Action.PAUSE)
                wanted = ladder[rung + 1] if decision.action is Action.CONTINUE else None
                assert decision.target == wanted


def test_asking_twice_gives_the_same_answer(scheduler: Scheduler) -> None:
    log = MemoryRungLog(RungEntry(number, 0, 0, -float(number), number) for number in range(7))
    entry = RungEntry(7, 0, 0, -3.0, 7)
    assert scheduler.on_report(entry, log) == scheduler.on_report(entry, log)
    assert scheduler.next_work(log, view(created=8)) == scheduler.next_work(log, view(created=8))


def test_only_a_trial_that_waits_is_promoted(scheduler: Scheduler) -> None:
    log = MemoryRungLog()
    for number in range(10):
        log.add(RungEntry(number, 0, 0, float(number), number), waiting=False)
    assert not isinstance(scheduler.next_work(log, view(created=10)), Promote)


def test_a_full_rung_of_failures_promotes_nobody(scheduler: Scheduler) -> None:
    log = MemoryRungLog()
    for number in range(10):
        log.add(RungEntry(number, scheduler.bracket_of(number), 0, WORST, number), waiting=False)
    assert scheduler.next_work(log, view(created=10)) == Finished("max_trials")


@dataclass(frozen=True, slots=True)
class StopsEveryThird:
    """A rule that stops every third trial at the first look."""

    levels: tuple[int, ...] = (3, 9)
    enters_at_completion: bool = False

    def score(self, loss: float, past: Past) -> float:
        return loss

    def stops(self, entry: RungEntry, past: Past, log: RungLog) -> bool:
        return entry.trial % 3 == 0 and entry.rung == 0


def test_nobody_waits_for_whom_a_rule_stops(scheduler: Scheduler) -> None:
    composed, log = Composed(scheduler, (StopsEveryThird(),)), MemoryRungLog()
    training: list[tuple[int, int]] = []  # trial and step it trains to
    created = seq = complete = 0
    while not isinstance(
        work := composed.next_work(log, StudyView(created, 30, queued=0, running=len(training), complete=complete)),
        Finished,
    ):
        if isinstance(work, NewTrial):
            training.append((created, composed.stops(scheduler.bracket_of(created))[0]))
            created += 1
        elif isinstance(work, Promote):
            log.leave(work.bracket, work.rung, work.trial)
            training.append((work.trial, work.target))
        else:
            assert training, "the scheduler waits and nothing runs"
        while len(training) >= 3 or (training and isinstance(work, Wait)):
            trial, step = training.pop(0)
            seq += 1
            arrival = Arrival(trial, scheduler.bracket_of(trial), step, seq, loss=float(trial % 7))
            verdict = composed.decide(arrival, lambda: (), log)
            for one in verdict.entered:
                log.add(one.entry, waiting=one.waiting)
            if verdict.decision.target is not None:
                training.append((trial, verdict.decision.target))
            complete += verdict.decision.action is Action.COMPLETE
    assert complete >= 1
    if isinstance(scheduler, Pbt):
        assert complete == 6  # of 10 members, those that no rule stopped


def study(scheduler: dict[str, Any], seed: int | None = 5) -> StudySpec:
    return StudySpec.model_validate(
        {
            "name": "s",
            "objectives": [{"metric": "loss", "direction": "minimize"}],
            "search_space": [{"name": "x", "type": "float", "low": 0.0, "high": 1.0}],
            "sampler": {"type": "random", "seed": seed},
            "scheduler": scheduler,
            "trainer": {"name": "synthetic"},
        }
    )


@pytest.mark.parametrize(
    ("asked", "built"),
    [
        ({"type": "fifo", "max_resource": 9}, Fifo(9)),
        ({"type": "asha", "max_resource": 9, "n_full": 4}, PromotingAsha((1, 3, 9), 3, 4, seed=5)),
        (
            {"type": "asha", "max_resource": 9, "brackets": 2, "mode": "stop"},
            StoppingAsha((1, 3, 9), 3, brackets=2, seed=5),
        ),
        ({"type": "successive_halving", "max_resource": 9}, SuccessiveHalving((1, 3, 9), 3, 9)),
        ({"type": "successive_halving", "max_resource": 9, "n_trials": 20}, SuccessiveHalving((1, 3, 9), 3, 20)),
        ({"type": "hyperband", "max_resource": 243}, Hyperband((1, 3, 9, 27, 81, 243), 3)),
        ({"type": "hyperband", "max_resource": 9, "mode": "async"}, PromotingAsha((1, 3, 9), 3, brackets=3, seed=5)),
        (
            {"type": "pbt", "max_resource": 10, "interval": 4, "population_size": 8, "quantile": 0.5},
            Pbt((4, 8, 10), 8, 0.5, 5),
        ),
        ({"type": "median", "max_resource": 9}, Fifo(9)),
        ({"type": "percentile", "max_resource": 9, "percentile": 25.0}, Fifo(9)),
        ({"type": "threshold", "max_resource": 9, "upper": 1.0}, Fifo(9)),
        ({"type": "patience", "max_resource": 9, "patience": 2}, Fifo(9)),
        ({"type": "curve", "max_resource": 9}, Fifo(9)),
        (
            {"type": "auto", "max_resource": 9, "picked": {"type": "hyperband", "max_resource": 9}},
            Hyperband((1, 3, 9), 3),
        ),
    ],
)
def test_what_was_asked_for_is_built(asked: dict[str, Any], built: Scheduler) -> None:
    assert build_scheduler(study(asked)) == built


def test_nothing_is_built_before_seed_and_scheduler_are_chosen() -> None:
    with pytest.raises(ValueError, match="seed must be chosen"):
        build_scheduler(study({"type": "fifo", "max_resource": 9}, seed=None))
    with pytest.raises(ValueError, match="must be picked"):
        build_scheduler(study({"type": "auto", "max_resource": 9}))
