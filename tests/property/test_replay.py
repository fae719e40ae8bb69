"""Whole studies, simulated with faults: every decision and suggestion can be derived again, every forgery is found."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpo.domain.events import Event, EventType
from hpo.domain.merit import WORST
from hpo.domain.trial import TRIAL_ENDED, TrialState
from hpo.replay import replay
from hpo.simulate import Faults, Simulation, simulate
from hpo.spec.schedulers import AshaSpec
from hpo.spec.study import StudySpec
from tests.property.studies import (
    ASHA,
    METHODS,
    X,
    curve_of,
    faults,
    kills,
    last_steps,
    params_by_seq,
    studies,
    study,
    workers,
)
from tests.unit.hpo.builders import a_study


@given(spec=studies, n=workers, faults=faults)
def test_a_replay_of_a_simulated_study_finds_no_difference(spec: StudySpec, n: int, faults: Faults) -> None:
    run = simulate(spec, curve_of(spec), workers=n, faults=faults)
    found = replay(spec, run.events)
    assert found.difference is None
    assert found.decisions == len(run.decisions)
    assert found.promotions == len(of_type(run.events, EventType.TRIAL_PROMOTED))
    assert found.suggestions == len(run.trials)


@given(spec=studies, n=workers, faults=faults)
def test_every_trial_ends_and_no_budget_is_exceeded(spec: StudySpec, n: int, faults: Faults) -> None:
    run = simulate(spec, curve_of(spec), workers=n, faults=faults)
    assert len(run.trials) <= spec.max_trials
    assert run.peak_running <= n
    assert run.epochs <= (spec.budget.max_epochs or run.epochs)
    assert all(trial.state in TRIAL_ENDED for trial in run.trials)
    whole = sum(trial.state is TrialState.COMPLETE for trial in run.trials)
    assert run.reason in ("n_full", "max_trials", "max_epochs")
    if run.reason == "n_full":
        assert isinstance(spec.scheduler, AshaSpec)
        n_full = spec.scheduler.n_full or 0
        # Whoever is stopped and not paused may be on the way to the full resource beside the last that is wanted.
        most = n_full if spec.scheduler.mode == "promote" else n_full + n - 1
        assert 0 < n_full <= whole <= most
    elif run.reason == "max_epochs":
        assert spec.budget.max_epochs is not None


@given(spec=studies, n=workers, faults=faults)
def test_every_epoch_is_accounted_once_and_trained_again_only_after_a_fault(
    spec: StudySpec, n: int, faults: Faults
) -> None:
    run = simulate(spec, curve_of(spec), workers=n, faults=faults)
    assert run.epochs == sum(last_steps(run.events).values())
    assert run.epochs_lost == 0  # with a checkpoint every epoch a kill undoes only the epoch that it happens in
    rare = spec.model_copy(update={"checkpoints": spec.checkpoints.model_copy(update={"every": 4})})
    run = simulate(rare, curve_of(spec), workers=n, faults=faults)
    assert run.epochs == sum(last_steps(run.events).values())
    assert run.epochs_lost <= 3 * run.kills


@given(spec=studies, n=workers, faults=faults)
def test_resumed_trials_report_what_uninterrupted_ones_would(spec: StudySpec, n: int, faults: Faults) -> None:
    run, curve = simulate(spec, curve_of(spec), workers=n, faults=faults), curve_of(spec)
    params = params_by_seq(run.events)
    for event in run.decisions:
        assert event.trial is not None
        epoch = curve(event.trial, params[event.seq], event.data["step"])
        assert (event.data["loss"], tuple(event.data.get("vector", ()))) == (epoch.loss, epoch.vector)
    steps = [(event.trial, event.data["step"]) for event in run.decisions]
    assert len(set(steps)) == len(steps)


@given(spec=studies, kills=kills)
def test_a_single_worker_decides_the_same_with_and_without_kills(spec: StudySpec, kills: Faults) -> None:
    # The trial is back in the queue before its worker is: nothing else can come in between.
    kills = replace(kills, lease_s=1.0, restart_s=1.0)
    curve = curve_of(spec)
    whole, broken = simulate(spec, curve, workers=1), simulate(spec, curve, workers=1, faults=kills)
    assert told(broken) == told(whole)
    assert [(t.params, t.state, t.losses) for t in broken.trials] == [
        (t.params, t.state, t.losses) for t in whole.trials
    ]
    assert broken.epochs == whole.epochs
    assert broken.makespan_s >= whole.makespan_s


def told(run: Simulation) -> list[tuple[Any, ...]]:
    return [(e.trial, e.data["step"], e.data["loss"], e.data["decision"], e.data["target"]) for e in run.decisions]


def test_a_replay_holds_for_curves_that_are_extrapolated() -> None:
    scheduler = {"type": "curve", "max_resource": 16, "min_chance": 0.3, "grace": 2, "interval": 2}
    spec = a_study(search_space=[X], scheduler=scheduler, budget={"max_trials": 25})
    run = simulate(spec, curve_of(spec), workers=4, faults=Faults(0.02, 3.0, 2.0, fail_probability=0.01))
    assert replay(spec, run.events).difference is None
    assert any(event.data["decision"] == "stop" for event in run.decisions)


SAMPLERS: list[dict[str, Any]] = [
    {"type": "tpe", "n_startup_trials": 5},
    {"type": "bohb", "min_points": 4},
    {"type": "sobol"},
    {"type": "cma_es", "population_size": 5},
    {"type": "genetic", "population_size": 6},
    {"type": "rf", "n_startup_trials": 32},
]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda one: str(one["type"]))
def test_eight_workers_with_five_deaths_are_derived_again_with_all_suggestions(sampler: dict[str, Any]) -> None:
    space = [X, {"type": "int", "name": "k", "low": 1, "high": 64, "log": True}]
    spec = a_study(search_space=space, scheduler=ASHA, sampler=sampler | {"seed": 3}, budget={"max_trials": 40})
    run = simulate(spec, curve_of(spec), workers=8, faults=Faults(0.1, 4.0, 3.0, seed=2))
    assert run.kills >= 5
    found = replay(spec, run.events)
    assert found.difference is None
    assert (found.decisions, found.suggestions) == (len(run.decisions), 40)


# Forgeries


def of_type(events: Iterable[Event], kind: EventType) -> list[Event]:
    return [event for event in events if event.type is kind]


def forged(events: Sequence[Event], at: Event, **changes: Any) -> list[Event]:
    """The log with some fields of one event changed; a field that becomes None is taken out of it."""
    data = {name: value for name, value in (at.data | changes).items() if value is not None}
    return [replace(event, data=data) if event is at else event for event in events]


pick = st.integers(0, 10**6)


@given(spec=studies, n=workers, faults=faults, pick=pick)
def test_a_changed_decision_is_found_where_it_was_made(spec: StudySpec, n: int, faults: Faults, pick: int) -> None:
    run = simulate(spec, curve_of(spec), workers=n, faults=faults)
    if not run.decisions:  # every trial failed
        return
    event = run.decisions[pick % len(run.decisions)]
    other = "stop" if event.data["decision"] == "pause" else "pause"
    found = replay(spec, forged(run.events, event, decision=other), suggestions=False)
    assert found.difference is not None
    assert found.difference.seq == event.seq


@given(spec=studies, n=workers, faults=faults, pick=pick)
def test_changed_params_are_found_where_they_were_proposed(spec: StudySpec, n: int, faults: Faults, pick: int) -> None:
    run = simulate(spec, curve_of(spec), workers=n, faults=faults)
    created = of_type(run.events, EventType.TRIAL_CREATED)
    event = created[pick % len(created)] if created else None
    if event is None:  # the budget does not hold a single rung
        return
    (name, value), *_ = event.data["params"].items()
    log = forged(run.events, event, params={name: 0.25 if value != 0.25 else 0.5})
    found = replay(spec, log)
    assert found.difference is not None
    assert found.difference.seq == event.seq


@given(spec=studies, n=workers, faults=faults, pick=pick)
def test_a_changed_target_is_found_where_it_was_given(spec: StudySpec, n: int, faults: Faults, pick: int) -> None:
    run = simulate(spec, curve_of(spec), workers=n, faults=faults)
    given_one = [event for event in run.events if event.data.get("target") is not None]
    if not given_one:
        return
    event = given_one[pick % len(given_one)]
    found = replay(spec, forged(run.events, event, target=event.data["target"] + 1), suggestions=False)
    assert found.difference is not None
    assert found.difference.seq == event.seq


@given(method=st.sampled_from(["pbt", "pbt of ten points"]), seed=pick, n=workers, faults=faults, pick=pick)
def test_another_source_or_other_explored_params_are_found(
    method: str, seed: int, n: int, faults: Faults, pick: int
) -> None:
    spec = study(method, seed)
    run = simulate(spec, curve_of(spec), workers=n, faults=faults)
    exploits = [event for event in run.events if "source" in event.data]
    if not exploits:
        return
    event = exploits[pick % len(exploits)]
    for changes in ({"source": event.data["source"] + 1}, {"source": None}, {"params": {"x": 0.5, "x10": 5}}):
        found = replay(spec, forged(run.events, event, **changes), suggestions=False)
        assert found.difference is not None
        assert found.difference.seq == event.seq


@given(spec=studies, n=workers, faults=faults, pick=pick)
def test_a_trial_that_ended_is_entered_where_it_was_due_and_nowhere_else(
    spec: StudySpec, n: int, faults: Faults, pick: int
) -> None:
    run = simulate(spec, curve_of(spec), workers=n, faults=faults)
    ended = [event for event in run.events if event.type is EventType.TRIAL_FINISHED and "decision" not in event.data]
    if not ended:
        return
    event = ended[pick % len(ended)]
    rung = event.data.get("dropped_at")
    for other in (7,) if rung is None else (rung + 1, None):
        found = replay(spec, forged(run.events, event, dropped_at=other), suggestions=False)
        assert found.difference is not None
        assert found.difference.seq == event.seq


@given(
    method=st.sampled_from([name for name in METHODS if "asha" in name and "stops" not in name and "two" not in name]),
    seed=pick,
    n=workers,
    pick=pick,
)
@example(method="asha with a constraint", seed=23, n=2, pick=2)  # of nine at the rung, a rule stopped six
@example(method="asha with a constraint", seed=35, n=7, pick=0)  # alone at its rung: rules stopped the others
def test_a_loss_made_worse_is_found_at_the_latest_when_its_trial_is_promoted(
    method: str, seed: int, n: int, pick: int
) -> None:
    spec = study(method, seed)
    run = simulate(spec, curve_of(spec), workers=n)
    promotions = of_type(run.events, EventType.TRIAL_PROMOTED)
    if not promotions:
        return
    promotion = promotions[pick % len(promotions)]
    place = (promotion.trial, promotion.data["rung"])
    event = next(event for event in run.decisions if (event.trial, event.data["rung"]) == place)
    entered = replay(spec, (e for e in run.events if e.seq < promotion.seq), suggestions=False).entered
    here = [one.entry for one in entered if (one.entry.bracket, one.entry.rung) == _place(event)]
    assert isinstance(spec.scheduler, AshaSpec)
    rivals = sum(entry.loss < WORST for entry in here) - 1
    if rivals < len(here) // spec.scheduler.reduction_factor:
        return  # so many ended or were stopped by a rule that even the worst loss is among those that go on
    found = replay(spec, forged(run.events, event, loss=100.0, violation=1e6), suggestions=False)
    assert found.difference is not None
    assert event.seq <= found.difference.seq <= promotion.seq


def _place(event: Event) -> tuple[int, int]:
    return event.data["bracket"], event.data["rung"]


@given(spec=studies, n=workers, pick=pick)
@settings(max_examples=100)
def test_a_lost_event_is_found_if_something_rests_on_it(spec: StudySpec, n: int, pick: int) -> None:
    events = list(simulate(spec, curve_of(spec), workers=n).events)
    if not events:
        return
    at = pick % len(events)
    lost = events.pop(at)
    later = any(event.trial == lost.trial and "decision" in event.data for event in events[at:])
    if later and lost.type in (EventType.TRIAL_CREATED, EventType.TRIAL_PROMOTED):
        assert replay(spec, events).difference is not None


@given(spec=studies, n=workers, faults=faults, draw=st.randoms(use_true_random=False), suggestions=st.booleans())
def test_a_log_that_was_shaken_is_judged_and_breaks_nothing(
    spec: StudySpec, n: int, faults: Faults, draw: Random, suggestions: bool
) -> None:
    events = list(simulate(spec, curve_of(spec), workers=n, faults=faults).events)
    for _ in range(draw.randrange(1, 4) if events else 0):
        one, other = draw.choice(events), draw.choice(events)
        at = draw.randrange(len(events))
        events[at] = draw.choice([replace(one, trial=other.trial), replace(one, type=other.type), other])
    events = [replace(event, seq=seq) for seq, event in enumerate(events, start=1)]
    found = replay(spec, events, suggestions=suggestions)
    judged = len(events) if found.difference is None else found.difference.seq
    assert found.decisions + found.promotions + found.suggestions <= judged
