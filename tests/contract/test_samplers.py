"""What every sampler must keep: the space, and the same answer for the same arguments in any circumstances."""

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from hpo.domain.history import Params, RngKey, TrialRecord
from hpo.domain.trial import TrialState
from hpo.samplers.base import Sampler
from hpo.samplers.build import build_sampler
from hpo.space.space import Space, problems, sample
from hpo.spec.space import CategoricalParam, FixedParam, FloatParam, IntParam
from hpo.spec.study import StudySpec

SPECS: dict[str, dict[str, Any]] = {
    "random": {"type": "random"},
    "grid": {"type": "grid"},
    "sobol": {"type": "sobol"},
    "tpe": {"type": "tpe"},
    "univariate tpe": {"type": "tpe", "multivariate": False},
    "bohb": {"type": "bohb"},
    "gp": {"type": "gp"},
    "gp by bound": {"type": "gp", "acquisition": "ucb"},
    "gp by epoch": {"type": "gp", "cost": "epochs"},
    "rf": {"type": "rf", "n_trees": 16},
    "rf by second": {"type": "rf", "n_trees": 16, "cost": "seconds"},
    "cma_es": {"type": "cma_es", "n_startup_trials": 5},
    "genetic": {"type": "genetic", "population_size": 10},
    "genetic by niches": {"type": "genetic", "population_size": 10, "algorithm": "nsga3"},
    "manual": {"type": "manual"},
}
KINDS = [name for name in SPECS if name not in ("grid", "manual")]
CHEAP = ["random", "sobol", "cma_es", "genetic"]
FINITE = Space(
    (
        FloatParam(type="float", name="dropout", low=0, high=0.4, step=0.1),
        IntParam(type="int", name="units", low=32, high=256, step=32),
        IntParam(type="int", name="width", low=1, high=64, log=True),
        CategoricalParam(type="categorical", name="mixed", choices=(1, 1.0, True, "1")),
        CategoricalParam(type="categorical", name="only", choices=("this",)),
    )
)
FLAT = Space(
    (
        FloatParam(type="float", name="lr", low=1e-5, high=0.1, log=True),
        FloatParam(type="float", name="momentum", low=0.5, high=1),
        *FINITE,
    )
)
NESTED = Space(
    (
        FloatParam(type="float", name="lr", low=1e-5, high=0.1, log=True),
        CategoricalParam(type="categorical", name="optimizer", choices=("sgd", "adam", "lamb")),
        FloatParam(type="float", name="momentum", low=0, high=1, when={"optimizer": ("sgd",)}),
        CategoricalParam(type="categorical", name="decay", choices=("no", "low", "high"), ordered=True),
        CategoricalParam(
            type="categorical", name="amsgrad", choices=(True, False), when={"optimizer": ("adam", "lamb")}
        ),
        FloatParam(type="float", name="epsilon", low=1e-8, high=1e-2, log=True, when={"amsgrad": (True,)}),
        IntParam(type="int", name="layers", low=1, high=3),
        IntParam(
            type="int", name="third", low=8, high=64, log=True, when={"layers": (3,), "optimizer": ("sgd", "adam")}
        ),
        FixedParam(type="fixed", name="batch", value=32),
        FixedParam(type="fixed", name="nesterov", value=True, when={"optimizer": ("sgd",)}),
        FloatParam(type="float", name="dampening", low=0, high=0.5, when={"nesterov": (True,)}),
    )
)
ENDS: tuple[tuple[TrialState, tuple[tuple[int, float], ...], bool, float], ...] = (
    (TrialState.COMPLETE, ((1, 0.9), (3, 0.5), (9, 0.3)), False, 0.0),
    (TrialState.PAUSED, ((1, 0.8),), False, 0.0),
    (TrialState.PRUNED, ((1, 0.7), (3, 0.6)), False, 0.0),
    (TrialState.PRUNED, ((1, 0.7),), True, 0.0),
    (TrialState.PRUNED, (), True, 0.0),
    (TrialState.PRUNED, (), False, 0.0),
    (TrialState.FAILED, (), False, 0.0),
    (TrialState.FAILED, ((1, 0.1),), False, 0.0),
    (TrialState.CANCELLED, (), False, 0.0),
    (TrialState.QUEUED, (), False, 0.0),
    (TrialState.QUEUED, ((1, 0.4),), False, 0.0),
    (TrialState.RUNNING, (), False, 0.0),
    (TrialState.COMPLETE, ((1, 0.2), (3, 0.1), (9, 0.1)), False, 1.5),
    (TrialState.COMPLETE, ((9, 0.4),), False, 0.0),
)


def sampler_of(kind: str, *, objectives: int = 1, space: Space = FLAT) -> Sampler:
    metrics = [{"metric": f"m{index}", "direction": "minimize"} for index in range(objectives)]
    return build_sampler(
        StudySpec.model_validate(
            {
                "name": "any",
                "objectives": metrics,
                "search_space": [param.model_dump() for param in space],
                "sampler": SPECS[kind],
                "scheduler": {"type": "fifo", "max_resource": 9},
                "trainer": {"name": "external"},
            }
        )
    )


def history_of(space: Space, n: int, *, objectives: int = 1) -> list[TrialRecord]:
    """Trials in every state that a history may hold, those of an earlier study first."""
    trials = []
    for number in range(-5, n - 5):
        state, losses, diverged, violation = ENDS[number % len(ENDS)]
        rng = np.random.default_rng([1, number + 5])
        params = sample(space, rng)
        shifted = tuple((resource, loss + (number + 5) / n) for resource, loss in losses)
        vector = tuple(rng.normal(size=objectives)) if objectives > 1 and losses else ()
        trials.append(
            TrialRecord(number, params, state, shifted, diverged, vector, violation, seconds=3.0 * len(losses))
        )
    return trials


def typed(params: Params) -> list[tuple[str, type, object]]:
    return [(name, type(value), value) for name, value in params.items()]


def check(space: Space, params: Params) -> None:
    assert problems(space, params) == []
    assert list(params) == [param.name for param in space if param.name in params]


@pytest.mark.parametrize("n", [0, 1, 12, 60, 300])
@pytest.mark.parametrize("space", [FLAT, NESTED], ids=["flat", "nested"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_a_point_of_the_space(kind: str, space: Space, n: int) -> None:
    sampler, history = sampler_of(kind), history_of(space, n)
    for number in range(n, n + 3):
        check(space, sampler.ask(space, history, RngKey(5, number)))
    check(space, sampler.ask(space, history, RngKey(5, n, 1)))


@pytest.mark.parametrize("objectives", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_several_objectives_give_a_point_of_the_space(kind: str, objectives: int) -> None:
    sampler, history = sampler_of(kind, objectives=objectives), history_of(NESTED, 200, objectives=objectives)
    for number in range(200, 203):
        check(NESTED, sampler.ask(NESTED, history, RngKey(5, number)))


def test_the_grid_gives_points_of_the_space() -> None:
    sampler = sampler_of("grid", space=FINITE)
    for number in range(200):
        check(FINITE, sampler.ask(FINITE, [], RngKey(5, number)))


@pytest.mark.parametrize("kind", CHEAP)
def test_ten_thousand_answers_lie_inside_the_space(kind: str) -> None:
    sampler, history = sampler_of(kind), history_of(NESTED, 60)
    for number in range(10_000):
        check(NESTED, sampler.ask(NESTED, history, RngKey(5, number)))


@pytest.mark.parametrize("kind", KINDS)
def test_all_ends_of_the_space_are_reachable(kind: str) -> None:
    """Every choice, and with it every parameter, comes up in the first trials, whatever the model."""
    sampler = sampler_of(kind)
    found = [sampler.ask(NESTED, [], RngKey(5, number)) for number in range(200)]
    assert {name for params in found for name in params} == {param.name for param in NESTED}
    assert {params["decay"] for params in found} == {"no", "low", "high"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [0, 60])
def test_the_answer_does_not_depend_on_what_was_asked_before(kind: str, n: int) -> None:
    history = history_of(NESTED, n)
    fresh = sampler_of(kind).ask(NESTED, history, RngKey(5, n))
    used = sampler_of(kind)
    for size in (n // 2, n, 0, n):  # growing, shrinking, growing
        used.ask(NESTED, history[:size], RngKey(9, size))
    changed = [replace(trial, losses=((1, 2.0),), state=TrialState.PAUSED) for trial in history]
    used.ask(NESTED, changed, RngKey(9, n))
    used.ask(Space(NESTED.params[:2]), history, RngKey(9, n))
    assert typed(used.ask(NESTED, history, RngKey(5, n))) == typed(fresh)


@pytest.mark.parametrize("kind", KINDS)
def test_a_history_that_comes_one_by_one_gives_the_same_answers(kind: str) -> None:
    history, used = history_of(NESTED, 61), sampler_of(kind)
    for size in range(0, 61, 3):
        grown = used.ask(NESTED, history[:size], RngKey(5, size))
        if size % 12 == 0:
            assert typed(grown) == typed(sampler_of(kind).ask(NESTED, history[:size], RngKey(5, size)))


@pytest.mark.parametrize("kind", KINDS)
def test_another_number_seed_or_attempt_gives_another_answer(kind: str) -> None:
    history = history_of(FLAT, 60)
    for one, other in pairwise([RngKey(5, 60), RngKey(5, 61), RngKey(6, 60), RngKey(6, 60, 1), RngKey(6, 60, 2)]):
        ask = sampler_of(kind).ask
        assert typed(ask(FLAT, history, one)) != typed(ask(FLAT, history, other))


@pytest.mark.parametrize("kind", KINDS)
def test_the_history_is_left_as_it_was(kind: str) -> None:
    history = history_of(NESTED, 60)
    sampler_of(kind).ask(NESTED, history, RngKey(5, 60))
    assert history == history_of(NESTED, 60)


@pytest.mark.parametrize("kind", KINDS)
def test_trials_that_are_no_points_of_an_edited_space_are_left_aside(kind: str) -> None:
    """Narrowed, fixed, and with a parameter added with a default and one without."""
    history = history_of(NESTED, 60)
    narrowed = FloatParam(type="float", name="lr", low=1e-4, high=1e-3, log=True)
    fixed = FixedParam(type="fixed", name="layers", value=3)
    added = FloatParam(type="float", name="warmup", low=0, high=1, default=0.5)
    rest = [param for param in NESTED if param.name not in ("lr", "layers")]
    for edited in (
        Space((narrowed, *NESTED.params[1:])),
        Space((NESTED.params[0], fixed, *rest)),
        Space((*NESTED, added)),
        Space((*NESTED, FloatParam(type="float", name="warmup", low=0, high=1))),
    ):
        check(edited, sampler_of(kind).ask(edited, history, RngKey(5, 100)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("violation", [0.0, 2.0])
def test_histories_in_which_all_trials_ended_alike_are_answered(kind: str, violation: float) -> None:
    """Equal losses, all infeasible, all diverged, all without a result: nothing to divide by and nothing to rank."""
    plain = [
        TrialRecord(number, sample(NESTED, np.random.default_rng(number)), TrialState.COMPLETE) for number in range(40)
    ]
    for history in (
        [replace(trial, losses=((9, 0.5),), violation=violation) for trial in plain],
        [replace(trial, losses=((9, 0.5),), violation=violation, params=plain[0].params) for trial in plain],
        [replace(trial, state=TrialState.PRUNED, diverged=True, violation=violation) for trial in plain],
        [replace(trial, state=TrialState.RUNNING) for trial in plain],
        [replace(trial, state=TrialState.FAILED) for trial in plain],
    ):
        check(NESTED, sampler_of(kind).ask(NESTED, history, RngKey(5, 40)))


@pytest.mark.parametrize("kind", [*KINDS, "grid"])
def test_another_process_gives_the_same_answer(kind: str) -> None:
    # Hashes of strings differ between processes, and so would the order of a set of names.
    program = (
        "from tests.contract.test_samplers import *\n"
        f"kind, space = {kind!r}, FINITE if {kind!r} == 'grid' else NESTED\n"
        "print(typed(sampler_of(kind, space=space).ask(space, history_of(space, 60), RngKey(5, 60))))"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    space = FINITE if kind == "grid" else NESTED
    assert other == str(typed(sampler_of(kind, space=space).ask(space, history_of(space, 60), RngKey(5, 60))))


def test_a_manual_study_refuses_to_propose() -> None:
    with pytest.raises(ValueError, match="enqueue"):
        sampler_of("manual").ask(FLAT, [], RngKey(1, 0))
