"""Acquisition, scores and models behind the samplers, and that each model-based one learns."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from hpo.domain.history import Params, RngKey, TrialRecord
from hpo.domain.trial import TrialState
from hpo.samplers.acquisition import log_expected_improvement, neighbours
from hpo.samplers.build import build_sampler
from hpo.samplers.codes import encoded
from hpo.samplers.cube import Cube
from hpo.samplers.forest import fit_forest
from hpo.samplers.gaussian import fit_process
from hpo.samplers.ladder import best_rows, ladder_scores, normal_scores, ordered, robust_scores
from hpo.samplers.pareto import best_first, scalarised
from hpo.samplers.table import Table
from hpo.space.space import Space, sample
from hpo.spec.space import CategoricalParam, FloatParam, IntParam
from tests.unit.hpo.builders import a_study

COMPLETE, PAUSED = TrialState.COMPLETE, TrialState.PAUSED
SQUARE = Space(tuple(FloatParam(type="float", name=name, low=0, high=1) for name in ("x", "y", "z")))
MIXED = Space(
    (
        FloatParam(type="float", name="lr", low=1e-4, high=1, log=True),
        IntParam(type="int", name="units", low=8, high=128, step=8),
        IntParam(type="int", name="width", low=1, high=64, log=True),
        CategoricalParam(type="categorical", name="kind", choices=("a", "b", "c")),
        CategoricalParam(type="categorical", name="size", choices=("s", "m", "l"), ordered=True),
        FloatParam(type="float", name="share", low=-1, high=1, when={"kind": ("a",), "size": ("s", "m")}),
    )
)


def made(number: int, params: Params, *losses: tuple[int, float], **fields: Any) -> TrialRecord:
    return TrialRecord(number, params, COMPLETE, losses, **fields)


@pytest.mark.parametrize("z", [3.0, 0.5, -0.9, -1.1, -4.0, -12.0, -30.0])
def test_the_logarithm_of_the_expected_improvement_is_that_of_its_integral(z: float) -> None:
    # Scaled by the density at the bound, so that the integral itself does not underflow.
    scaled, _ = quad(lambda t: t * np.exp(-z * -t - t**2 / 2) if z < 0 else t * norm.pdf(t - z), 0, np.inf)
    expected = np.log(scaled) + (norm.logpdf(z) if z < 0 else 0.0)
    found = log_expected_improvement(np.array([1.0]), np.array([2.0]), 1.0 + 2.0 * z)
    assert found[0] == pytest.approx(expected + np.log(2.0), rel=1e-6)


def test_the_expected_improvement_falls_on_without_end() -> None:
    values = log_expected_improvement(np.linspace(-3, 1e6, 100_000), np.ones(100_000), 0.0)
    assert np.isfinite(values).all()
    assert (np.diff(values) < 0).all()


def test_with_one_rung_the_scores_are_in_the_order_of_the_losses() -> None:
    losses = np.random.default_rng(1).normal(size=40)
    records = [made(n, {}, (9, float(loss))) for n, loss in enumerate(losses)]
    assert np.argsort(ladder_scores(records, normal_scores)).tolist() == np.argsort(losses).tolist()


def test_a_rung_exchanges_the_scores_of_its_own_trials_only() -> None:
    first = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    plain = ladder_scores([made(n, {}, (1, loss)) for n, loss in enumerate(first)], normal_scores)
    promoted = {0: 0.9, 1: 0.7, 2: 0.8}
    records = [made(n, {}, (1, loss), *([(3, promoted[n])] if n in promoted else [])) for n, loss in enumerate(first)]
    scores = ladder_scores(records, normal_scores)
    assert scores[[1, 2, 0]].tolist() == plain[[0, 1, 2]].tolist()
    assert scores[3:].tolist() == plain[3:].tolist()


def test_a_trial_that_begins_higher_scores_as_those_with_its_loss_there() -> None:
    records = [made(n, {}, (1, n / 10), (3, n / 10)) for n in range(10)] + [made(10, {}, (3, 0.45))]
    scores = ladder_scores(records, normal_scores)
    assert scores[4] < scores[10] < scores[5]


def test_the_best_of_few_candidates_are_the_best_of_all() -> None:
    rng = np.random.default_rng(3)
    records = []
    for n in range(300):
        quality = rng.normal()  # which the rungs agree on in the main
        at = [(3**rung, float(quality + rng.normal() / 3 - rung)) for rung in range(int(rng.integers(1, 4)))]
        records.append(replace(made(n, sample(SQUARE, rng), *at), state=PAUSED))
    table = Table(SQUARE)
    table.sync(records)
    assert len({*best_rows(table, 10)} & {*ordered(table, table.results)[:10]}) >= 7


def test_scores_bound_what_an_outlier_says() -> None:
    losses = np.array([0.1, 0.2, 0.3, 0.4, 1e12])
    assert robust_scores(losses)[:2].tolist() == pytest.approx([-1.0, -0.5])
    assert robust_scores(losses)[-1] < 50
    assert normal_scores(losses).tolist() == pytest.approx((-normal_scores(-losses)).tolist())
    assert robust_scores(np.ones(5)).tolist() == [0.0] * 5


def test_units_and_codes_of_samples_agree() -> None:
    cube, rng = Cube(MIXED), np.random.default_rng(2)
    for _ in range(300):
        params = sample(MIXED, rng)
        row = cube.row(params)
        assert row is not None
        assert cube.decode(np.array(row)) == params
        units = cube.units(np.array([row]))
        active = ~np.isnan(units)
        assert ((units[active] >= 0) & (units[active] <= 1)).all()
        again = cube.snap(np.where(active, units, 0.5))
        assert again == pytest.approx(np.array([row]), nan_ok=True)


def test_neighbours_are_points_and_reach_every_parameter() -> None:
    cube = Cube(MIXED)
    start = {"lr": 0.01, "units": 64, "width": 8, "kind": "a", "size": "m", "share": 0.0}
    row = np.array([[float(encoded(param, start[param.name])) for param in MIXED]])
    around = neighbours(cube, row, np.random.default_rng(0))
    assert all(Cube(MIXED).row(cube.decode(codes)) is not None for codes in around)
    moved = (around != row) & ~np.isnan(around)
    assert moved.any(axis=0).all()
    assert np.isnan(around[:, -1]).any()  # and a change of a parent takes its child along


@pytest.mark.parametrize("fit", [partial(fit_forest, n_trees=64), fit_process], ids=["forest", "process"])
def test_a_model_is_surer_where_it_has_seen_something(fit: Any) -> None:
    rng = np.random.default_rng(0)
    inputs = rng.random((60, 2)) * 0.4
    model = fit(inputs, np.sin(6 * inputs[:, 0]), 1)
    near, near_deviation = model.predict(inputs)
    _, far_deviation = model.predict(rng.random((60, 2)) * 0.1 + 0.9)
    assert np.corrcoef(near, np.sin(6 * inputs[:, 0]))[0, 1] > 0.95
    assert near_deviation.mean() < far_deviation.mean() or near_deviation.mean() < 0.1


def test_fronts_come_one_after_the_other() -> None:
    losses = np.array([[0.0, 3.0], [1.0, 1.0], [3.0, 0.0], [2.0, 2.0], [4.0, 4.0]])
    assert set(best_first(losses, 3)) == {0, 1, 2}
    assert best_first(losses, 5)[3:] == [3, 4]
    assert int(np.argmin(scalarised(losses, np.array([0.5, 0.5])))) == 1


def valley(params: Params) -> float:
    return sum((float(value) - 0.3) ** 2 for value in params.values())


LEARNERS: dict[str, dict[str, Any]] = {
    "tpe": {"type": "tpe"},
    "bohb": {"type": "bohb"},
    "gp": {"type": "gp"},
    "gp by bound": {"type": "gp", "acquisition": "ucb"},
    "rf": {"type": "rf", "n_trees": 24},
    "cma_es": {"type": "cma_es"},
    "genetic": {"type": "genetic", "population_size": 10},
}


def searched(sampler: dict[str, Any], seed: int, n: int = 60) -> list[TrialRecord]:
    asked = build_sampler(a_study(sampler=sampler, search_space=[param.model_dump() for param in SQUARE]))
    history: list[TrialRecord] = []
    for number in range(n):
        params = asked.ask(SQUARE, history, RngKey(seed, number))
        history.append(made(number, params, (9, valley(params))))
    return history


@pytest.mark.parametrize("kind", LEARNERS)
def test_the_later_half_of_a_search_is_far_better_than_chance(kind: str) -> None:
    late = [np.median([trial.loss for trial in searched(LEARNERS[kind], seed)[30:]]) for seed in range(3)]
    chance = [np.median([trial.loss for trial in searched({"type": "random"}, seed)]) for seed in range(3)]
    assert np.median(late) < np.median(chance) / 2


@pytest.mark.parametrize("kind", ["gp", "rf", "tpe"])
def test_constraints_keep_proposals_where_they_hold(kind: str) -> None:
    asked = build_sampler(a_study(sampler=LEARNERS[kind], search_space=[param.model_dump() for param in SQUARE]))
    rng = np.random.default_rng(5)
    history = []
    for number in range(80):  # the better the loss, the smaller x; below 0.5 is not allowed
        params = sample(SQUARE, rng)
        x = float(params["x"])
        history.append(made(number, params, (9, x), violation=max(0.0, 0.5 - x)))
    xs = [float(asked.ask(SQUARE, history, RngKey(1, 80 + n))["x"]) for n in range(12)]
    assert 0.45 < np.median(xs) < 0.6
    assert np.mean(np.array(xs) < 0.4) <= 0.25


@pytest.mark.parametrize("kind", ["gp", "rf"])
def test_running_trials_are_not_proposed_again(kind: str) -> None:
    asked = build_sampler(a_study(sampler=LEARNERS[kind], search_space=[param.model_dump() for param in SQUARE]))
    history = searched({"type": "random"}, 1, 30)
    for number in range(30, 38):
        params = asked.ask(SQUARE, history, RngKey(1, number))
        history.append(TrialRecord(number, params, TrialState.RUNNING))
    points = np.array([list(trial.params.values()) for trial in history[30:]])
    gaps = np.linalg.norm(points[:, None] - points[None, :], axis=2)[np.triu_indices(8, 1)]
    assert gaps.min() > 0


def test_a_sampler_that_was_not_picked_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="must be picked"):
        build_sampler(a_study(sampler={"type": "auto"}))
