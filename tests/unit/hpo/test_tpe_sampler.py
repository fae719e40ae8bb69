"""What TPE is shown of a history, and that its bounds and shortcuts leave Optuna's answers as they are."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import optuna
import pytest
from optuna.samplers._tpe import _truncnorm
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState
from scipy.special import log_ndtr, ndtr

from hpo.domain.history import Params, RngKey, TrialRecord
from hpo.domain.trial import TrialState
from hpo.samplers.codes import encoded
from hpo.samplers.optuna_adapter import distribution
from hpo.samplers.random_search import RandomSearch
from hpo.samplers.table import Table
from hpo.samplers.tpe import BEST, RECENT, Bohb, Tpe
from hpo.space.space import Space, sample
from hpo.spec.space import CategoricalParam, FloatParam, IntParam

SPACE = Space(
    (
        FloatParam(type="float", name="lr", low=1e-4, high=1e-1, log=True),
        FloatParam(type="float", name="dropout", low=0, high=0.4, step=0.1),
        IntParam(type="int", name="units", low=16, high=256, log=True),
        CategoricalParam(type="categorical", name="optimizer", choices=("sgd", "adam", "adamw")),
    )
)
COMPLETE, PAUSED, RUNNING, FAILED = TrialState.COMPLETE, TrialState.PAUSED, TrialState.RUNNING, TrialState.FAILED

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def trial(number: int, state: TrialState, *losses: tuple[int, float], diverged: bool = False) -> TrialRecord:
    return TrialRecord(number, RandomSearch().ask(SPACE, (), RngKey(0, number)), state, losses, diverged)


def some_history(n: int) -> list[TrialRecord]:
    rng = np.random.default_rng(n)
    trials = []
    for number in range(n):
        losses = tuple((3**rung, float(rng.normal())) for rung in range(int(rng.integers(1, 4))))
        trials.append(trial(number, COMPLETE if len(losses) == 3 else PAUSED, *losses))
    return [*trials, *(trial(n + extra, RUNNING) for extra in range(8))]


def tpe(*, multivariate: bool = True) -> Tpe:
    return Tpe(n_startup_trials=10, n_ei_candidates=24, multivariate=multivariate)


def in_order(multivariate: bool) -> Space:
    # Optuna's study sorts the parameters by name, so a multivariate draw takes its random numbers in that order.
    return Space(tuple(sorted(SPACE, key=lambda param: param.name))) if multivariate else SPACE


def shown(history: list[TrialRecord], best: int = BEST, recent: int = RECENT) -> list[int]:
    """Numbers of the trials that the models are made of."""
    table = Table(SPACE)
    table.sync(history)
    return [history[row].number for row in table.with_recent(table.best(best), recent)]


def ranked(history: list[TrialRecord]) -> list[int]:
    table = Table(SPACE)
    table.sync(history)
    return [history[row].number for row in table.best(len(history))]


def known_to_optuna(record: TrialRecord) -> FrozenTrial:
    states = {COMPLETE: OptunaState.COMPLETE, PAUSED: OptunaState.PRUNED, RUNNING: OptunaState.RUNNING}
    state = states[record.state]
    return FrozenTrial(
        number=record.number,
        state=state,
        value=record.loss if state is OptunaState.COMPLETE else None,
        datetime_start=EPOCH,
        datetime_complete=EPOCH if state.is_finished() else None,
        params={param.name: encoded(param, record.params[param.name]) for param in SPACE},
        distributions={param.name: distribution(param) for param in SPACE},
        user_attrs={},
        system_attrs={},
        intermediate_values=dict(record.losses),
        trial_id=record.number,
    )


@pytest.mark.parametrize("multivariate", [True, False])
def test_up_to_the_bound_the_answer_is_the_one_of_optuna_with_its_own_study(
    multivariate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = BEST + RECENT
    history = some_history(n)
    key = RngKey(3, len(history))
    seed = int(np.random.SeedSequence([key.seed, key.number]).generate_state(1)[0])
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=multivariate)
    params = tpe(multivariate=multivariate).ask(in_order(multivariate), history, key)
    monkeypatch.setattr(_truncnorm, "_log_ndtr", np.vectorize(_truncnorm._log_ndtr_single, otypes=[float]))
    monkeypatch.setattr(_truncnorm, "_ndtr", np.vectorize(_truncnorm._ndtr_single, otypes=[float]))
    study = optuna.create_study(sampler=sampler)
    for record in history:
        study.add_trial(known_to_optuna(record))
    asked = study.ask({param.name: distribution(param) for param in SPACE})
    assert {param.name: encoded(param, params[param.name]) for param in SPACE} == pytest.approx(asked.params, rel=1e-6)


def test_scipys_functions_have_the_values_of_those_they_replace() -> None:
    points = np.concatenate([np.linspace(-60, 10, 4001), -np.logspace(-12, 3, 500), [0.0, -0.0]])
    for ours, theirs in ((log_ndtr, _truncnorm._log_ndtr_single), (ndtr, _truncnorm._ndtr_single)):
        expected = np.array([theirs(float(point)) for point in points])
        assert ours(points) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert (_truncnorm._log_ndtr, _truncnorm._ndtr) == (log_ndtr, ndtr)


def test_the_window_holds_the_best_the_newest_and_all_that_run() -> None:
    trials = [trial(number, COMPLETE, (1, float((number * 37) % 1000))) for number in range(1000)]
    trials[5] = trial(5, RUNNING)
    trials[990] = trial(990, FAILED)
    by_loss = sorted((t for t in trials if t.losses), key=lambda t: t.loss)
    best = {t.number for t in by_loss[:BEST]}
    newest = [t.number for t in by_loss if t.number not in best]
    assert shown(trials) == sorted(best | set(sorted(newest)[-RECENT:]))
    table = Table(SPACE)
    table.sync(trials)
    assert table.awaited == [5]


def test_beyond_the_bound_the_good_model_is_still_made_of_the_best_trials() -> None:
    # All good trials are old and lie at lr > 0.03; the many later ones are bad and lie anywhere.
    old = [replace(trial(n, COMPLETE, (9, 0.1)), params={**trial(n, COMPLETE).params, "lr": 0.05}) for n in range(30)]
    late = [trial(number, COMPLETE, (9, 5.0)) for number in range(30, 1000)]
    asked = [tpe().ask(SPACE, [*old, *late], RngKey(1, 1000 + number))["lr"] for number in range(20)]
    assert np.median([float(lr) for lr in asked]) == pytest.approx(0.05, rel=0.3)


def test_results_rank_by_tier_resource_and_loss() -> None:
    history = [
        trial(0, TrialState.PRUNED, (1, 0.1), (27, 0.1), diverged=True),
        trial(1, PAUSED, (1, 9.0)),
        trial(2, COMPLETE, (27, 8.0)),
        trial(3, PAUSED, (1, 0.5), (3, 7.0)),
        replace(trial(4, COMPLETE, (27, 0.1)), violation=2.0),
        replace(trial(5, PAUSED, (1, 0.1)), violation=1.0),
    ]
    assert ranked(history) == [2, 3, 1, 5, 4, 0]


def test_with_two_objectives_results_rank_by_fronts() -> None:
    vectors = [(3.0, 3.0), (1.0, 2.0), (2.0, 1.0), (2.0, 2.0)]
    history = [replace(trial(n, COMPLETE, (9, v[0])), vector=v) for n, v in enumerate(vectors)]
    table = Table(SPACE, 2)
    table.sync(history)
    assert set(table.best(2)) == {1, 2}
    assert table.best(4)[2:] == [3, 0]


def test_a_failed_or_cancelled_trial_tells_nothing() -> None:
    assert ranked([trial(0, FAILED), trial(1, TrialState.CANCELLED, (1, 0.1)), trial(2, TrialState.PRUNED)]) == []


def test_a_promotion_moves_a_trial_up() -> None:
    records = [trial(number, PAUSED, (1, float(number))) for number in range(5)]
    table = Table(SPACE)
    table.sync(records)
    assert table.best(1) == [0]
    records[4] = replace(records[4], losses=((1, 4.0), (3, 3.5)))
    table.sync(records)
    assert table.best(2) == [4, 0]
    assert (table.entries[1], table.entries[3]) == (5, 1)


def test_bohb_learns_from_the_highest_rung_with_enough_entries() -> None:
    # At rung 1 a small lr is good, at rung 3 a large one; at rung 9 there are too few to tell.
    def at(lr: float, number: int, *losses: tuple[int, float]) -> TrialRecord:
        plain = trial(number, PAUSED, *losses)
        return replace(plain, params={**plain.params, "lr": lr})

    low = [at(1e-4 * 1.01**n, n, (1, 0.1)) for n in range(20)]
    high = [at(0.09 * 0.99**n, 20 + n, (1, 0.5), (3, 0.1)) for n in range(10)]
    rest = [at(1e-3 * 1.1**n, 30 + n, (1, 0.4), (3, 0.9)) for n in range(20)]
    few = [at(1e-3, 50, (1, 0.5), (3, 0.8), (9, 0.1))]
    sampler = Bohb(min_points=8, random_fraction=0.0, n_ei_candidates=24)
    asked = [float(sampler.ask(SPACE, [*low, *high, *rest, *few], RngKey(1, 60 + n))["lr"]) for n in range(20)]
    assert np.median(asked) > 0.05


def test_the_first_trials_are_drawn_at_random() -> None:
    history = [trial(number, COMPLETE, (1, 0.5)) for number in range(9)] + [trial(9, RUNNING)]
    assert tpe().ask(SPACE, history, RngKey(4, 10)) == sample(SPACE, RngKey(4, 10).generator())
    history[9] = trial(9, COMPLETE, (1, 0.5))
    assert tpe().ask(SPACE, history, RngKey(4, 10)) != sample(SPACE, RngKey(4, 10).generator())


def test_trials_without_a_result_yet_keep_the_next_ones_away() -> None:
    def at(lr: float, number: int, state: TrialState, *losses: tuple[int, float]) -> TrialRecord:
        plain = trial(number, state, *losses)
        return replace(plain, params={**plain.params, "lr": lr})

    known = [at(0.05, number, COMPLETE, (1, 0.0)) for number in range(4)]
    known += [at(10 ** (-4 + number / 10), number, COMPLETE, (1, 1.0)) for number in range(4, 30)]
    crowded = [*known, *(at(0.05, number, RUNNING) for number in range(30, 90))]

    def distance(history: list[TrialRecord]) -> float:
        asked = [tpe().ask(SPACE, history, RngKey(4, number))["lr"] for number in range(100, 120)]
        return float(np.median([abs(np.log(float(lr) / 0.05)) for lr in asked]))

    assert distance(crowded) > distance(known)


def test_tpe_finds_better_trials_than_random_search() -> None:
    def loss(params: Params) -> float:
        return float(np.log10(float(params["lr"])) + 2) ** 2 + (params["optimizer"] != "adam")

    def best_of(sampler: Tpe | RandomSearch, seed: int) -> float:
        history: list[TrialRecord] = []
        for number in range(60):
            params = sampler.ask(SPACE, history, RngKey(seed, number))
            history.append(TrialRecord(number, params, COMPLETE, ((1, loss(params)),)))
        return float(np.mean([record.loss for record in history[30:]]))

    wins = sum(best_of(tpe(), seed) < best_of(RandomSearch(), seed) for seed in range(5))
    assert wins == 5
