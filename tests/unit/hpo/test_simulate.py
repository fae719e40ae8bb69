import math
from typing import Any

import pytest

from hpo.domain.events import EventType
from hpo.domain.history import Params
from hpo.domain.trial import TrialState
from hpo.replay import replay
from hpo.simulate import Epoch, Faults, simulate
from tests.property.studies import last_steps
from tests.unit.hpo.builders import a_study, curve


def by_number(number: int, params: Params, step: int) -> Epoch:
    """The first trial is the worst and every later one better, so that whoever comes last is promotable."""
    return Epoch(-float(number))


def test_without_pruning_the_makespan_is_the_work_shared_by_the_workers() -> None:
    spec = a_study(scheduler={"type": "fifo", "max_resource": 5}, budget={"max_trials": 8})
    run = simulate(spec, curve, workers=4)
    assert run.epochs == 40
    assert run.makespan_s == 2 * 5 * 2.0
    assert run.peak_running == 4
    assert {trial.state for trial in run.trials} == {TrialState.COMPLETE}
    assert {trial.seconds for trial in run.trials} == {10.0}
    assert run.reason == "max_trials"


def test_every_event_has_its_instant() -> None:
    run = simulate(a_study(budget={"max_trials": 12}), curve, workers=3)
    assert len(run.times_s) == len(run.events)
    assert list(run.times_s) == sorted(run.times_s)
    assert [event.seq for event in run.events] == list(range(1, len(run.events) + 1))
    assert run.times_s[-1] == run.makespan_s


def test_the_study_limits_how_many_run_at_once() -> None:
    spec = a_study(scheduler={"type": "fifo", "max_resource": 5}, budget={"max_trials": 8, "max_concurrent": 2})
    assert simulate(spec, curve, workers=4).peak_running == 2


def test_promotion_spends_far_less_than_whole_trainings_and_finds_the_same_best() -> None:
    promote = a_study(scheduler={"type": "asha", "max_resource": 27}, budget={"max_trials": 81})
    whole = a_study(scheduler={"type": "fifo", "max_resource": 27}, budget={"max_trials": 81})
    few, all_of_them = simulate(promote, curve, workers=4), simulate(whole, curve, workers=4)
    assert few.epochs < 0.25 * all_of_them.epochs
    assert min(t.loss for t in few.trials) == min(t.loss for t in all_of_them.trials)


def test_a_trial_that_is_promotable_on_arrival_goes_on_in_place() -> None:
    run = simulate(a_study(budget={"max_trials": 12}), by_number, workers=1)
    actions = [event.data["decision"] for event in run.decisions[:4]]
    assert actions == ["pause", "pause", "continue", "pause"]


def test_paused_trials_are_promoted_when_a_worker_is_free() -> None:
    run = simulate(a_study(budget={"max_trials": 9}), lambda number, params, step: Epoch(float(number)), workers=1)
    assert [event.trial for event in run.events if event.type is EventType.TRIAL_PROMOTED] == [0, 1, 2, 0]


def test_enough_whole_trials_end_the_study_and_no_more_are_begun() -> None:
    spec = a_study(scheduler={"type": "asha", "max_resource": 9, "n_full": 2}, budget={"max_trials": 1000})
    run = simulate(spec, curve, workers=6)
    assert run.reason == "n_full"
    assert sum(trial.state is TrialState.COMPLETE for trial in run.trials) == 2
    assert len(run.trials) < 1000
    assert replay(spec, run.events).difference is None


def test_no_epoch_is_spent_beyond_the_budget_and_what_waits_is_pruned() -> None:
    spec = a_study(scheduler={"type": "fifo", "max_resource": 7}, budget={"max_trials": 100, "max_epochs": 20})
    run = simulate(spec, curve, workers=3)
    assert (run.epochs, len(run.trials), run.reason) == (14, 2, "max_epochs")
    asha = a_study(budget={"max_trials": 100, "max_epochs": 20})
    run = simulate(asha, by_number, workers=3)
    assert run.epochs == 20
    assert {trial.state for trial in run.trials} <= {TrialState.PRUNED, TrialState.COMPLETE}
    assert replay(asha, run.events).difference is None


def test_an_exhausted_space_ends_the_study_and_is_told() -> None:
    spec = a_study(search_space=[{"type": "int", "name": "x", "low": 0, "high": 4}], budget={"max_trials": 100})
    run = simulate(spec, curve, workers=3)
    assert sorted(trial.params["x"] for trial in run.trials) == [0, 1, 2, 3, 4]
    told = [event.data for event in run.events if event.type is EventType.STUDY_UPDATED]
    assert told == [{"max_trials": 5, "reason": "space_exhausted"}]


def test_a_kill_loses_the_epochs_since_the_last_checkpoint_and_nothing_else() -> None:
    sparse = a_study(
        checkpoints={"every": 4}, scheduler={"type": "fifo", "max_resource": 10}, budget={"max_trials": 20}
    )
    run = simulate(sparse, curve, workers=3, faults=Faults(kill_probability=0.1, lease_s=5, restart_s=3))
    assert run.kills > 5
    assert 0 < run.epochs_lost <= 3 * run.kills
    assert run.epochs == 20 * 10  # each counts once
    assert [trial.losses for trial in run.trials] == [
        trial.losses for trial in simulate(sparse, curve, workers=3).trials
    ]


def test_killed_workers_and_leases_cost_time() -> None:
    spec = a_study(scheduler={"type": "fifo", "max_resource": 10}, budget={"max_trials": 6})
    calm = simulate(spec, curve, workers=2)
    stormy = simulate(spec, curve, workers=2, faults=Faults(kill_probability=0.1, lease_s=60, restart_s=30))
    assert stormy.makespan_s > calm.makespan_s + 30
    assert [(trial.params, trial.losses) for trial in stormy.trials] == [
        (trial.params, trial.losses) for trial in calm.trials
    ]


def test_a_failed_trial_keeps_the_epochs_that_it_reported_and_is_last_in_its_rung() -> None:
    spec = a_study(scheduler={"type": "asha", "max_resource": 9, "min_resource": 3}, budget={"max_trials": 60})
    run = simulate(spec, curve, workers=4, faults=Faults(fail_probability=0.1))
    failed = [trial.number for trial in run.trials if trial.state is TrialState.FAILED]
    assert len(failed) > 5
    steps = last_steps(run.events)
    assert {steps[number] for number in failed} >= {0, 1, 2}
    assert run.epochs == sum(steps.values())
    ends = {event.trial: event.data for event in run.events if event.type is EventType.TRIAL_FINISHED}
    assert all(ends[number]["dropped_at"] == (1 if steps[number] >= 3 else 0) for number in failed)
    assert replay(spec, run.events).difference is None


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_diverged_trial_is_pruned_and_never_compared(loss: float) -> None:
    run = simulate(
        a_study(budget={"max_trials": 9}),
        lambda number, params, step: Epoch(loss if number == 4 else float(number)),
        workers=2,
    )
    assert run.trials[4].state is TrialState.PRUNED
    assert run.trials[4].diverged
    assert 4 not in {decision.trial for decision in run.decisions}


def test_a_population_goes_on_with_the_params_of_its_sources_explored() -> None:
    scheduler = {"type": "pbt", "max_resource": 6, "interval": 2, "population_size": 8}
    run = simulate(a_study(scheduler=scheduler), curve, workers=3)
    exploits = [event for event in run.events if "source" in event.data]
    assert len(exploits) == 2 * 2  # a quarter of eight, after two of three generations
    assert {trial.state for trial in run.trials} == {TrialState.COMPLETE}
    changed = {event.trial for event in exploits}
    created = {event.trial: event.data["params"] for event in run.events if event.type is EventType.TRIAL_CREATED}
    assert {trial.number for trial in run.trials if trial.params != created[trial.number]} == changed


@pytest.mark.parametrize("sampler", [{"type": "tpe", "seed": 5}, {"type": "random", "seed": 5}])
def test_the_same_seed_gives_the_same_study(sampler: dict[str, Any]) -> None:
    spec = a_study(sampler=sampler, budget={"max_trials": 40})
    faults = Faults(kill_probability=0.05, lease_s=4, restart_s=2, seed=8)
    once, again = (simulate(spec, curve, workers=5, faults=faults) for _ in range(2))
    assert once == again
    assert replay(spec, once.events).difference is None


@pytest.mark.parametrize(("workers", "kill"), [(0, 0.0), (1, 1.0), (1, -0.1)])
def test_a_simulation_that_cannot_end_is_refused(workers: int, kill: float) -> None:
    with pytest.raises(ValueError, match="need workers >= 1"):
        simulate(a_study(), curve, workers=workers, faults=Faults(kill_probability=kill))
