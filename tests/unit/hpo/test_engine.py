import subprocess
import sys

import pytest

from hpo.domain.history import TrialRecord
from hpo.domain.trial import TrialState
from hpo.engine import Engine, RungShare, plan
from hpo.schedulers.asha import PromotingAsha, StoppingAsha
from hpo.schedulers.base import Action, NewTrial, RungEntry, StudyView
from hpo.schedulers.fifo import Fifo
from hpo.schedulers.rung_log import MemoryRungLog
from tests.unit.hpo.builders import a_study


def test_the_schedulers_are_those_of_the_spec() -> None:
    stop = {"type": "asha", "min_resource": 2, "max_resource": 10, "reduction_factor": 2, "mode": "stop", "n_full": 3}
    assert Engine(a_study(scheduler=stop)).scheduler == StoppingAsha((2, 4, 8, 10), 2, 3)
    assert Engine(a_study()).scheduler == PromotingAsha((1, 3, 9), 3, None)
    assert Engine(a_study(scheduler={"type": "fifo", "max_resource": 7})).scheduler == Fifo(7)


def test_decisions_and_work_are_the_schedulers() -> None:
    engine, view = Engine(a_study()), StudyView(created=0, max_trials=5, queued=0, running=0, complete=0)
    assert engine.next_work(MemoryRungLog(), view) == NewTrial(engine.first_target)
    assert engine.decide(RungEntry(0, 0, 2, 0.1, 1), MemoryRungLog()).action is Action.COMPLETE


@pytest.mark.parametrize("sampler", ["random", "grid", "tpe"])
def test_two_engines_of_one_spec_ask_alike(sampler: str) -> None:
    space = [{"type": "int", "name": "k", "low": 0, "high": 40}, {"type": "categorical", "name": "c", "choices": ["a"]}]
    spec = a_study(sampler={"type": sampler, "seed": 3}, search_space=space)
    used = Engine(spec)
    history: list[TrialRecord] = []
    for number in range(20):
        params = used.ask(history, number)
        assert Engine(spec).ask(list(history), number) == params
        history.append(TrialRecord(number, params, TrialState.COMPLETE, ((9, float(number)),)))


def test_an_engine_needs_a_seed() -> None:
    with pytest.raises(ValueError, match="seed"):
        Engine(a_study(sampler={"type": "random"}))


def test_whoever_only_decides_does_not_import_optuna() -> None:
    program = "import sys, hpo.engine; raise SystemExit('optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_plan_of_the_first_paper_has_its_numbers() -> None:
    # E2 of EXPERIMENTS.md: R=16, r=1, eta=4, N_m=4, nominally 64/16/4 configurations and 160 epochs with resume
    asha = {"type": "asha", "max_resource": 16, "reduction_factor": 4, "n_full": 4}
    found = plan(a_study(scheduler=asha, budget={"max_trials": 1000}))
    assert found.rungs == (RungShare(0, 1, 64, 64), RungShare(1, 4, 16, 48), RungShare(2, 16, 4, 48))
    assert (found.trials, found.epochs, found.epochs_without_pruning) == (64, 160, 1024)


def test_a_plan_is_cut_by_the_budget() -> None:
    asha = {"type": "asha", "max_resource": 16, "reduction_factor": 4, "n_full": 4}
    assert [rung.trials for rung in plan(a_study(scheduler=asha, budget={"max_trials": 30})).rungs] == [30, 7, 1]
    assert [rung.trials for rung in plan(a_study(scheduler=asha, budget={"max_trials": 3})).rungs] == [3, 0, 0]
    stop = asha | {"mode": "stop"}
    assert [rung.trials for rung in plan(a_study(scheduler=stop, budget={"max_trials": 3})).rungs] == [3, 1, 1]


def test_a_plan_without_pruning_trains_every_trial_to_the_end() -> None:
    found = plan(a_study(scheduler={"type": "fifo", "max_resource": 7}, budget={"max_trials": 5}))
    assert found.rungs == (RungShare(0, 7, 5, 35),)
    assert found.epochs == found.epochs_without_pruning == 35


def test_the_plan_of_a_grid_has_no_more_trials_than_points() -> None:
    space = [{"type": "int", "name": "k", "low": 1, "high": 6}]
    found = plan(a_study(sampler={"type": "grid"}, search_space=space, scheduler={"type": "fifo", "max_resource": 2}))
    assert found.trials == 6
