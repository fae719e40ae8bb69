"""Whole studies, simulated with faults: every decision can be derived again, and every forgery is found."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.domain.history import Params
from hpo.domain.trial import TRIAL_ENDED, TrialState
from hpo.replay import Created, Event, Promoted, Reported, replay
from hpo.schedulers.base import Action, Decision
from hpo.simulate import Epoch, Faults, simulate
from hpo.spec.schedulers import AshaSpec
from hpo.spec.study import StudySpec

SCHEDULERS: list[dict[str, Any]] = [
    {"type": "fifo", "max_resource": 5},
    {"type": "asha", "max_resource": 9, "mode": "promote"},
    {"type": "asha", "max_resource": 9, "mode": "stop"},
    {"type": "asha", "max_resource": 20, "min_resource": 2, "reduction_factor": 2, "mode": "promote", "n_full": 2},
    {"type": "asha", "max_resource": 16, "reduction_factor": 4, "mode": "stop", "n_full": 3},
]


def study(scheduler: dict[str, Any], seed: int = 0, **budget: int) -> StudySpec:
    return StudySpec.model_validate(
        {
            "name": "simulated",
            "objectives": [{"metric": "loss", "direction": "minimize"}],
            "search_space": [{"type": "float", "name": "x", "low": 0, "high": 1}],
            "sampler": {"type": "random", "seed": seed},
            "scheduler": scheduler,
            "trainer": {"name": "synthetic"},
            "budget": budget,
        }
    )


def curve(number: int, params: Params, step: int) -> Epoch:
    x = float(params["x"])
    loss = round((x - 0.7) ** 2 + 1 / step, 2)  # rounded, so that ties happen
    return Epoch(float("nan") if x > 0.97 else loss, seconds=0.5 + x)


studies = st.builds(study, st.sampled_from(SCHEDULERS), st.integers(0, 10**6), max_trials=st.integers(1, 60))
faults = st.builds(
    Faults,
    kill_probability=st.sampled_from([0.0, 0.02, 0.2]),
    lease_s=st.floats(0, 10),
    restart_s=st.floats(0, 10),
    seed=st.integers(0, 10**6),
)
workers = st.integers(1, 12)


@given(spec=studies, n=workers, faults=faults)
def test_a_replay_of_a_simulated_study_finds_no_difference(spec: StudySpec, n: int, faults: Faults) -> None:
    assert replay(spec, simulate(spec, curve, workers=n, faults=faults).events) is None


@given(spec=studies, n=workers, faults=faults)
def test_every_trial_ends_and_no_budget_is_exceeded(spec: StudySpec, n: int, faults: Faults) -> None:
    run = simulate(spec, curve, workers=n, faults=faults)
    assert len(run.trials) <= spec.max_trials
    assert run.peak_running <= n
    assert all(trial.state in TRIAL_ENDED for trial in run.trials)
    whole = sum(trial.state is TrialState.COMPLETE for trial in run.trials)
    if run.reason == "n_full":
        assert isinstance(spec.scheduler, AshaSpec)
        n_full = spec.scheduler.n_full or 0
        assert 0 < n_full <= whole < n_full + n  # those under way when the last was complete
    else:
        assert run.reason == "max_trials"
        assert len(run.trials) == spec.max_trials


@given(spec=studies, n=workers, faults=faults)
def test_no_epoch_is_trained_twice_but_those_that_a_fault_undid(spec: StudySpec, n: int, faults: Faults) -> None:
    run = simulate(spec, curve, workers=n, faults=faults)
    # With a checkpoint every epoch a kill undoes only the epoch it happens in, which is not counted.
    assert run.epochs_lost == 0
    if run.reason == "max_trials":
        reached = [trial.losses[-1][0] if trial.losses else 1 for trial in run.trials]  # this curve diverges at once
        assert run.epochs == sum(reached)


@given(spec=studies, faults=faults)
def test_a_single_worker_decides_the_same_with_and_without_faults(spec: StudySpec, faults: Faults) -> None:
    # The trial is back in the queue before its worker is: nothing else can come in between.
    faults = replace(faults, lease_s=1.0, restart_s=1.0)
    whole, broken = simulate(spec, curve, workers=1), simulate(spec, curve, workers=1, faults=faults)
    assert broken.events == whole.events
    assert broken.trials == whole.trials
    assert broken.makespan_s >= whole.makespan_s


@given(spec=studies, n=workers, faults=faults, pick=st.integers(0, 10**6))
def test_a_forged_decision_is_found_where_it_was_made(spec: StudySpec, n: int, faults: Faults, pick: int) -> None:
    events = list(simulate(spec, curve, workers=n, faults=faults).events)
    made = [i for i, event in enumerate(events) if isinstance(event, Reported) and not event.forced]
    if not made:  # every trial diverged
        return
    at = made[pick % len(made)]
    events[at] = _forged(events[at])
    difference = replay(spec, events)
    assert difference is not None
    assert difference.seq == events[at].seq


def _forged(event: Event) -> Reported:
    assert isinstance(event, Reported)
    other = Action.STOP if event.decision.action is Action.PAUSE else Action.PAUSE
    return replace(event, decision=Decision(other))


@given(spec=studies, n=workers, pick=st.integers(0, 10**6))
@settings(max_examples=100)
def test_a_lost_event_is_found_if_a_decision_rests_on_it(spec: StudySpec, n: int, pick: int) -> None:
    events = list(simulate(spec, curve, workers=n).events)
    at = pick % len(events)
    lost = events.pop(at)
    later = any(event.trial == lost.trial for event in events[at:])
    if later and isinstance(lost, Created | Promoted):
        assert replay(spec, events) is not None
