import subprocess
import sys

import numpy as np
import pytest
from scipy.optimize import curve_fit

from hpo.domain.merit import INFEASIBLE, WORST
from hpo.schedulers.base import RungEntry
from hpo.schedulers.rules.curve import CurveRule
from hpo.schedulers.rules.extrapolate import FAMILIES, MAX_POINTS, MIN_POINTS, Array, Family, extrapolate
from hpo.schedulers.rung_log import MemoryRungLog

EPOCHS = np.arange(1, 51)
LEVELS = tuple(EPOCHS.tolist())
RULE = CurveRule(LEVELS)
LANE = -1
LAST = len(LEVELS) - 1


def power_law(end: float, decay: float, seed: int, *, noise: float = 0.005) -> Array:
    """A loss that falls from near 1 to ``end`` at the last epoch, as a power of the epoch, with noise."""
    falling = EPOCHS**-decay
    loss: Array = end + (1 - end) * (falling - falling[-1]) / (1 - falling[-1])
    return loss + np.random.default_rng(seed).normal(0, noise, len(loss))


def log_with(*complete: float) -> MemoryRungLog:
    return MemoryRungLog(RungEntry(n, LANE, LAST, loss, n) for n, loss in enumerate(complete))


def stopped_at(curve: Array, log: MemoryRungLog, rule: CurveRule = RULE) -> int | None:
    """The epoch at which the trial is stopped, None if it is trained to the end."""
    past = list(zip(LEVELS, curve.tolist(), strict=True))
    for rung in range(LAST):
        if rule.stops(RungEntry(99, LANE, rung, past[rung][1], 99), past[:rung], log):
            return LEVELS[rung]
    return None


@pytest.mark.parametrize("decay", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_clear_losers_are_stopped_and_winners_are_kept(decay: float, seed: int) -> None:
    log = log_with(0.2, 0.25)
    loser = stopped_at(power_law(0.5, decay, seed), log)
    assert loser is not None
    assert loser <= 40
    assert stopped_at(power_law(0.15, decay, seed), log) is None


def test_the_clearer_the_loser_the_earlier_it_is_stopped() -> None:
    log = log_with(0.2)
    epochs = [stopped_at(power_law(end, 0.6, 0), log) for end in (0.8, 0.5, 0.35)]
    assert None not in epochs
    assert epochs == sorted(epochs, key=lambda epoch: epoch or 0)
    assert epochs[0] != epochs[-1]


def test_without_a_complete_trial_nobody_is_stopped() -> None:
    rising = np.linspace(1, 5, len(LEVELS))
    assert stopped_at(rising, log_with()) is None
    assert stopped_at(rising, log_with(1.5 * INFEASIBLE, WORST)) is None
    assert stopped_at(rising, log_with(0.2)) == MIN_POINTS


def test_a_flat_curve_is_stopped_behind_the_incumbent_and_kept_before_it() -> None:
    flat = np.full(len(LEVELS), 0.9)
    assert stopped_at(flat, log_with(0.5)) == MIN_POINTS
    assert stopped_at(flat, log_with(0.9)) is None  # an equal: even chances
    assert stopped_at(flat, log_with(0.95)) is None
    assert stopped_at(np.zeros(len(LEVELS)), log_with(-1.0)) == MIN_POINTS


def test_no_curve_is_judged_before_its_min_points() -> None:
    flat = np.full(len(LEVELS), 0.9)
    assert stopped_at(flat, log_with(0.5), CurveRule(LEVELS, min_points=10)) == 10
    with pytest.raises(ValueError, match="at least 4 points"):
        extrapolate([1, 2, 3], [1.0, 0.9, 0.8], 9)


def test_stops_that_are_no_looks_and_infeasible_looks_are_no_points() -> None:
    rule, log = CurveRule((5, 10, 15, 20, 50)), MemoryRungLog([RungEntry(0, LANE, 4, 0.1, 0)])
    looks = [(5, 0.9), (10, 0.9), (15, 0.9)]
    now = RungEntry(1, LANE, 3, 0.9, 1)
    assert rule.stops(now, looks, log)
    assert rule.stops(now, [(3, 0.0), *looks, (17, 0.0)], log)
    assert not rule.stops(now, [(5, WORST), *looks[1:]], log)  # three points left
    assert not rule.stops(RungEntry(1, LANE, 3, WORST, 1), looks, log)


def test_a_lower_chance_asks_for_more_evidence() -> None:
    curve, log = power_law(0.4, 0.6, 1), log_with(0.2)
    cautious, bold = (stopped_at(curve, log, CurveRule(LEVELS, chance)) for chance in (0.001, 0.3))
    assert cautious is not None
    assert bold is not None
    assert bold < cautious


def test_the_outcome_lies_where_the_prediction_says() -> None:
    """Over many curves, the outcome is below the predicted 10 % and above the 90 % point at most as often as that."""
    chances = []
    draw = np.random.default_rng(0)
    for seed in range(100):
        curve = power_law(float(draw.uniform(0.1, 0.6)), float(draw.uniform(0.2, 1.2)), seed, noise=0.01)
        seen = int(draw.integers(6, 40))
        outcome = float(curve[-1])
        chances.append(extrapolate(EPOCHS[:seen].tolist(), curve[:seen].tolist(), 50).chance_below(outcome))
    assert np.mean(np.array(chances) < 0.1) <= 0.1
    assert np.mean(np.array(chances) > 0.9) <= 0.1


@pytest.mark.parametrize(("factor", "shift"), [(1e-6, 0.0), (1e6, -3e6), (1.0, 5.0), (1e280, 0.0)])
def test_the_unit_of_the_loss_plays_no_part(factor: float, shift: float) -> None:
    curve = power_law(0.4, 0.6, 1)[:20]
    plain = extrapolate(EPOCHS[:20].tolist(), curve.tolist(), 50)
    other = extrapolate(EPOCHS[:20].tolist(), (factor * curve + shift).tolist(), 50)
    for value in (0.1, 0.3, 0.5):
        assert other.chance_below(factor * value + shift) == pytest.approx(plain.chance_below(value), abs=1e-4)


def test_the_power_law_predicts_what_an_unbounded_fit_predicts() -> None:
    x, y = EPOCHS[:30].astype(float), power_law(0.3, 0.7, 5)[:30]
    (a, b, c), _ = curve_fit(lambda x, a, b, c: a + b * x**-c, x, y, p0=(0.3, 0.7, 0.7))
    mixture = extrapolate(x.tolist(), y.tolist(), 50)
    assert mixture.means[3] == pytest.approx(a + b * 50.0**-c, abs=1e-3)
    assert mixture.weights[3] > 0.3


@pytest.mark.parametrize("family", FAMILIES)
def test_derivatives_of_the_families_are_those_of_differences(family: Family) -> None:
    basis, ends = family.basis, family.ends
    x = np.linspace(0.02, 1, 30)
    shapes = np.array([(np.log(low) + np.log(high)) / 2 for low, high in ends])
    for k, slope in enumerate(basis(x, 0.02, *shapes)[1:]):
        step = np.zeros(len(shapes))
        step[k] = 1e-6
        difference = (basis(x, 0.02, *(shapes + step))[0] - basis(x, 0.02, *(shapes - step))[0]) / 2e-6
        np.testing.assert_allclose(slope, difference, atol=1e-7)


def test_a_long_curve_is_thinned_and_its_last_look_kept() -> None:
    x = np.arange(1, 1001)
    y = 0.3 + 0.7 * x**-0.5 + np.random.default_rng(0).normal(0, 0.005, len(x))
    mixture = extrapolate(x[:900].tolist(), y[:900].tolist(), 1000)
    assert len(x) > MAX_POINTS
    assert max(mixture.freedoms) == MAX_POINTS - 1
    assert mixture.weights @ mixture.means == pytest.approx(0.3 + 0.7 * 1000**-0.5, abs=0.01)


def test_scipy_is_imported_by_whoever_extrapolates_and_by_nobody_else() -> None:
    code = "import sys, hpo.schedulers.rules.curve; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
