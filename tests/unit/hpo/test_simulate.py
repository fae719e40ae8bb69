import pytest

from hpo.domain.history import Params
from hpo.domain.trial import TrialState
from hpo.replay import Promoted, replay
from hpo.schedulers.base import Action
from hpo.simulate import Epoch, Faults, simulate
from tests.unit.hpo.builders import a_study


def curve(number: int, params: Params, step: int) -> Epoch:
    return Epoch((float(params["x"]) - 0.7) ** 2 + 1 / step, seconds=2.0)


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
    assert run.reason == "max_trials"


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
    actions = [decision.decision.action for decision in run.decisions[:4]]
    assert actions == [Action.PAUSE, Action.PAUSE, Action.CONTINUE, Action.PAUSE]


def test_paused_trials_are_promoted_when_a_worker_is_free() -> None:
    run = simulate(a_study(budget={"max_trials": 9}), lambda number, params, step: Epoch(float(number)), workers=1)
    assert [event.trial for event in run.events if isinstance(event, Promoted)] == [0, 1, 2, 0]


def test_enough_whole_trials_end_the_study_and_let_the_others_come_to_their_rung() -> None:
    spec = a_study(scheduler={"type": "asha", "max_resource": 9, "n_full": 2}, budget={"max_trials": 1000})
    run = simulate(spec, curve, workers=6)
    whole = sum(trial.state is TrialState.COMPLETE for trial in run.trials)
    assert run.reason == "n_full"
    assert 2 <= whole < 2 + 6  # those on their way to the top come to their rung, too
    assert len(run.trials) < 1000
    assert replay(spec, run.events) is None


def test_a_kill_loses_the_epochs_since_the_last_checkpoint_and_nothing_else() -> None:
    sparse = a_study(
        checkpoints={"every": 4}, scheduler={"type": "fifo", "max_resource": 10}, budget={"max_trials": 20}
    )
    run = simulate(sparse, curve, workers=3, faults=Faults(kill_probability=0.1, lease_s=5, restart_s=3))
    assert run.kills > 5
    assert 0 < run.epochs_lost <= 3 * run.kills
    assert run.epochs == 20 * 10 + run.epochs_lost
    assert [trial.losses for trial in run.trials] == [
        trial.losses for trial in simulate(sparse, curve, workers=3).trials
    ]


def test_killed_workers_and_leases_cost_time() -> None:
    spec = a_study(scheduler={"type": "fifo", "max_resource": 10}, budget={"max_trials": 6})
    calm = simulate(spec, curve, workers=2)
    stormy = simulate(spec, curve, workers=2, faults=Faults(kill_probability=0.1, lease_s=60, restart_s=30))
    assert stormy.makespan_s > calm.makespan_s + 30
    assert stormy.trials == calm.trials


def test_a_diverged_trial_is_pruned_and_never_compared() -> None:
    run = simulate(
        a_study(budget={"max_trials": 9}),
        lambda number, params, step: Epoch(float("nan") if number == 4 else float(number)),
        workers=2,
    )
    assert run.trials[4].state is TrialState.PRUNED
    assert run.trials[4].diverged
    assert 4 not in {decision.trial for decision in run.decisions}


def test_the_same_seed_gives_the_same_study() -> None:
    spec = a_study(sampler={"type": "tpe", "seed": 5}, budget={"max_trials": 40})
    faults = Faults(kill_probability=0.05, lease_s=4, restart_s=2, seed=8)
    once, again = (simulate(spec, curve, workers=5, faults=faults) for _ in range(2))
    assert once == again
    assert replay(spec, once.events) is None


@pytest.mark.parametrize(("workers", "kill"), [(0, 0.0), (1, 1.0), (1, -0.1)])
def test_a_simulation_that_cannot_end_is_refused(workers: int, kill: float) -> None:
    with pytest.raises(ValueError, match="need workers >= 1"):
        simulate(a_study(), curve, workers=workers, faults=Faults(kill_probability=kill))
