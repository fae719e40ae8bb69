import subprocess
import sys

import pytest

from hpo.domain.history import Params, TrialRecord
from hpo.domain.trial import TrialState
from hpo.engine import Engine
from hpo.schedulers.asha import PromotingAsha, StoppingAsha
from hpo.schedulers.base import Action, NewTrial, StudyView
from hpo.schedulers.composed import Arrival
from hpo.schedulers.fifo import Fifo
from hpo.schedulers.rung_log import MemoryRungLog
from hpo.space.space import broken_rule, problems
from tests.unit.hpo.builders import a_study

K = {"type": "int", "name": "k", "low": 1, "high": 3}
X = {"type": "float", "name": "x", "low": 0, "high": 1}
NEW = StudyView(created=0, max_trials=5, queued=0, running=0, complete=0)


def finished(number: int, params: Params, loss: float = 0.5) -> TrialRecord:
    return TrialRecord(number, params, TrialState.COMPLETE, ((9, loss),))


def asked(engine: Engine, n: int) -> list[Params | None]:
    """The answers to one ask after the other, each trial finished before the next is asked for."""
    history: list[TrialRecord] = []
    answers: list[Params | None] = []
    for number in range(n):
        params = engine.ask(list(history), number)
        answers.append(params)
        if params is not None:
            history.append(finished(number, params, float(number)))
    return answers


def test_the_schedulers_are_those_of_the_spec() -> None:
    stop = {"type": "asha", "min_resource": 2, "max_resource": 10, "reduction_factor": 2, "mode": "stop", "n_full": 3}
    assert Engine(a_study(scheduler=stop)).scheduler.main == StoppingAsha((2, 4, 8, 10), 2, 3, seed=1)
    assert Engine(a_study()).scheduler.main == PromotingAsha((1, 3, 9), 3, None, seed=1)
    assert Engine(a_study(scheduler={"type": "fifo", "max_resource": 7})).scheduler.main == Fifo(7)


def test_decisions_and_work_are_the_schedulers() -> None:
    engine = Engine(a_study())
    assert engine.next_work(MemoryRungLog(), NEW) == NewTrial()
    verdict = engine.decide(Arrival(0, 0, 9, 1, 0.1), lambda: [], MemoryRungLog())
    assert (verdict.decision.action, verdict.rung) == (Action.COMPLETE, 2)


def test_a_trial_stops_at_the_rungs_of_its_bracket_and_where_rules_look() -> None:
    scheduler = {"type": "asha", "max_resource": 9, "brackets": 2}
    engine = Engine(a_study(scheduler=scheduler, pruners=[{"type": "patience", "patience": 1, "grace": 2}]))
    assert engine.full == 9
    assert engine.stops(0) == (1, 2, 3, 4, 5, 6, 7, 8, 9)
    assert (engine.first_target(0), engine.first_target(1)) == (1, 2)
    assert {engine.bracket_of(number) for number in range(50)} == {0, 1}


@pytest.mark.parametrize("sampler", ["random", "grid", "sobol", "tpe"])
def test_two_engines_of_one_spec_ask_alike(sampler: str) -> None:
    space = [{"type": "int", "name": "k", "low": 0, "high": 40}, {"type": "categorical", "name": "c", "choices": ["a"]}]
    spec = a_study(sampler={"type": sampler, "seed": 3}, search_space=space)
    used = Engine(spec)
    history: list[TrialRecord] = []
    for number in range(20):
        params = used.ask(history, number)
        assert Engine(spec).ask(list(history), number) == params
        assert params is not None
        history.append(finished(number, params, float(number)))


@pytest.mark.parametrize("sampler", ["random", "sobol", "tpe", "cma_es", "genetic"])
def test_a_finite_space_is_exhausted_exactly(sampler: str) -> None:
    space = [
        {"type": "int", "name": "k", "low": 1, "high": 4},
        {"type": "categorical", "name": "c", "choices": [1, True, "a"]},
    ]
    engine = Engine(a_study(sampler={"type": sampler, "seed": 3}, search_space=space))
    answers = asked(engine, 14)
    distinct = {(one["k"], repr(one["c"])) for one in answers if one is not None}
    assert len(distinct) == 12
    assert answers[12:] == [None, None]


def test_a_grid_goes_around_what_was_enqueued() -> None:
    engine = Engine(a_study(sampler={"type": "grid", "seed": 3}, search_space=[K | {"high": 6}]))
    first = engine.ask([], 4)
    assert first is not None
    history = [finished(0, first)]  # enqueued; the grid would propose it as number 4
    for number in range(1, 6):
        params = engine.ask(list(history), number)
        assert params is not None
        history.append(finished(number, params))
    assert sorted(record.params["k"] for record in history) == [1, 2, 3, 4, 5, 6]


def test_repeats_allow_each_configuration_so_often() -> None:
    space = [K]
    answers = asked(Engine(a_study(search_space=space, repeats=2)), 7)
    assert sorted(one["k"] for one in answers if one is not None) == [1, 1, 2, 2, 3, 3]
    assert answers[6] is None


def test_what_is_trained_counts_though_it_runs_waits_or_failed() -> None:
    engine = Engine(a_study(search_space=[K]))
    history = [
        TrialRecord(0, {"k": 1}, TrialState.RUNNING),
        TrialRecord(1, {"k": 3}, TrialState.FAILED),
    ]
    assert engine.ask(history, 2) == {"k": 2}


def test_the_count_follows_a_history_whose_tail_was_replaced() -> None:
    engine = Engine(a_study(search_space=[K]))
    one, two, three = (finished(number, {"k": number + 1}) for number in range(3))
    assert engine.ask([one, two, three], 3) is None
    assert engine.ask([one, two], 2) == {"k": 3}
    assert engine.ask([one, finished(1, {"k": 3})], 2) == {"k": 2}
    assert engine.ask([finished(0, {"k": 2}), finished(1, {"k": 3})], 2) == {"k": 1}
    assert engine.ask([one, two, three], 3) is None


def test_forbidden_combinations_and_linear_rules_are_kept_by_every_proposal() -> None:
    spec = a_study(
        search_space=[X, {"type": "float", "name": "y", "low": 0, "high": 1}],
        space_constraints=["x + y <= 0.6", "x < y"],
        sampler={"type": "tpe", "seed": 1, "n_startup_trials": 5},
    )
    engine = Engine(spec)
    for params in asked(engine, 25):
        assert params is not None
        assert problems(engine.space, params) == []
        assert float(params["x"]) < float(params["y"]) <= 0.6 - float(params["x"])
    optimizer = {"type": "categorical", "name": "optimizer", "choices": ["sgd", "adam"]}
    layers = {"type": "int", "name": "layers", "low": 1, "high": 3}
    forbidden = [{"optimizer": "sgd", "layers": [2, 3]}]
    engine = Engine(a_study(search_space=[optimizer, layers], forbidden=forbidden))
    answers = asked(engine, 5)
    assert answers[4] is None
    assert all(one is not None and broken_rule(engine.space, one) is None for one in answers[:4])


def test_trials_from_before_an_edit_of_the_space_count_with_its_defaults() -> None:
    space = [
        {"type": "int", "name": "k", "low": 1, "high": 2},
        {"type": "int", "name": "new", "low": 1, "high": 2, "default": 2},
    ]
    engine = Engine(a_study(search_space=space))
    history = [finished(0, {"k": 1}), finished(1, {"k": 2}), finished(2, {"k": 1, "new": 1})]
    assert engine.ask(history, 3) == {"k": 2, "new": 1}


def test_earlier_trials_inform_the_sampler_and_may_be_trained_again() -> None:
    space = [K]
    earlier = [TrialRecord(n - 3, {"k": n + 1}, TrialState.COMPLETE, ((9, 0.2 + n / 4),)) for n in range(3)]
    spec = a_study(search_space=space, sampler={"type": "tpe", "seed": 1, "n_startup_trials": 1})
    answers = asked(Engine(spec, earlier), 4)
    assert sorted(one["k"] for one in answers if one is not None) == [1, 2, 3]
    wide = a_study(search_space=[X], sampler={"type": "tpe", "seed": 1, "n_startup_trials": 3})
    known = [TrialRecord(n - 20, {"x": n / 20}, TrialState.COMPLETE, ((9, abs(n - 8) / 20),)) for n in range(20)]
    assert Engine(wide, known).ask([], 0) != Engine(wide).ask([], 0)


def test_an_engine_needs_a_seed() -> None:
    with pytest.raises(ValueError, match="seed"):
        Engine(a_study(sampler={"type": "random"}))


@pytest.mark.parametrize("library", ["optuna", "sklearn", "scipy.optimize", "torch", "sqlalchemy"])
def test_whoever_only_decides_does_not_import(library: str) -> None:
    program = f"import sys, hpo.engine; raise SystemExit({library!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
