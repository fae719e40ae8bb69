"""What every sampler must keep: bounds, and the same answer for the same arguments in any circumstances."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from hpo.domain.history import History, Params, RngKey, TrialRecord
from hpo.domain.trial import TrialState
from hpo.samplers.base import Sampler
from hpo.samplers.grid import GridSearch
from hpo.samplers.optuna_adapter import Tpe
from hpo.samplers.random_search import RandomSearch
from hpo.space.space import Space, problems
from hpo.spec.space import CategoricalParam, FloatParam, IntParam

MAKERS: dict[str, Callable[[], Sampler]] = {
    "random": RandomSearch,
    "grid": GridSearch,
    "tpe": lambda: Tpe(n_startup_trials=10, n_ei_candidates=24, multivariate=True),
    "univariate tpe": lambda: Tpe(n_startup_trials=10, n_ei_candidates=24, multivariate=False),
}
FINITE: Space = (
    FloatParam(type="float", name="dropout", low=0, high=0.4, step=0.1),
    IntParam(type="int", name="units", low=32, high=256, step=32),
    IntParam(type="int", name="width", low=1, high=64, log=True),
    CategoricalParam(type="categorical", name="mixed", choices=(1, 1.0, True, "1")),
    CategoricalParam(type="categorical", name="only", choices=("this",)),
)
CONTINUOUS: Space = (
    FloatParam(type="float", name="lr", low=1e-5, high=0.1, log=True),
    FloatParam(type="float", name="momentum", low=0.5, high=1),
    *FINITE,
)
ENDS = (
    (TrialState.COMPLETE, ((1, 0.9), (3, 0.5), (9, 0.3)), False),
    (TrialState.PAUSED, ((1, 0.8),), False),
    (TrialState.PRUNED, ((1, 0.7), (3, 0.6)), False),
    (TrialState.PRUNED, ((1, 0.7),), True),
    (TrialState.PRUNED, (), True),
    (TrialState.PRUNED, (), False),
    (TrialState.FAILED, (), False),
    (TrialState.FAILED, ((1, 0.1),), False),
    (TrialState.CANCELLED, (), False),
    (TrialState.QUEUED, (), False),
    (TrialState.QUEUED, ((1, 0.4),), False),
    (TrialState.RUNNING, (), False),
)


@pytest.fixture(params=MAKERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def space_of(kind: str) -> Space:
    return FINITE if kind == "grid" else CONTINUOUS


def history_of(space: Space, n: int) -> list[TrialRecord]:
    """Trials in every state that a history may hold."""
    trials = []
    for number in range(n):
        state, losses, diverged = ENDS[number % len(ENDS)]
        params = RandomSearch().ask(space, (), RngKey(1, number))
        shifted = tuple((resource, loss + number / n) for resource, loss in losses)
        trials.append(TrialRecord(number, params, state, shifted, diverged))
    return trials


def typed(params: Params) -> list[tuple[str, type, object]]:
    return [(name, type(value), value) for name, value in params.items()]


@pytest.mark.parametrize("n", [0, 1, 12, 60, 400])
def test_an_answer_is_a_point_of_the_space(kind: str, n: int) -> None:
    space = space_of(kind)
    sampler, history = MAKERS[kind](), history_of(space, n)
    for number in range(n, n + 15):
        params = sampler.ask(space, history, RngKey(5, number))
        assert problems(space, params) == []
        assert list(params) == [param.name for param in space]


@pytest.mark.parametrize("n", [0, 60, 400])
def test_the_answer_does_not_depend_on_what_was_asked_before(kind: str, n: int) -> None:
    space = space_of(kind)
    history = history_of(space, n)
    fresh = MAKERS[kind]().ask(space, history, RngKey(5, n))
    used = MAKERS[kind]()
    for size in (n // 2, n, 0, n):  # growing, shrinking, growing
        used.ask(space, history[:size], RngKey(9, size))
    changed = [replace(trial, losses=((1, 2.0),), state=TrialState.PAUSED) for trial in history]
    used.ask(space, changed, RngKey(9, n))
    used.ask(space[:2], history, RngKey(9, min(n, 5)))
    assert typed(used.ask(space, history, RngKey(5, n))) == typed(fresh)


def test_equal_histories_give_equal_answers(kind: str) -> None:
    space = space_of(kind)
    once, again = (MAKERS[kind]().ask(space, history_of(space, 100), RngKey(5, 100)) for _ in range(2))
    assert typed(once) == typed(again)


def test_another_number_or_seed_gives_another_answer(kind: str) -> None:
    space = space_of(kind)
    history: History = history_of(space, 60)
    keys = [RngKey(5, 60), RngKey(5, 61), RngKey(6, 60), RngKey(7, 60)]
    answers = {str(typed(MAKERS[kind]().ask(space, history, key))) for key in keys}
    assert len(answers) > 2


def test_the_history_is_left_as_it_was(kind: str) -> None:
    space = space_of(kind)
    history = history_of(space, 60)
    MAKERS[kind]().ask(space, history, RngKey(5, 60))
    assert history == history_of(space, 60)


def test_another_process_gives_the_same_answer(kind: str) -> None:
    # Hashes of strings differ between processes, and so would the order of a set of names.
    program = (
        "from tests.contract.test_samplers import *\n"
        f"kind = {kind!r}\n"
        "space = space_of(kind)\n"
        "print(typed(MAKERS[kind]().ask(space, history_of(space, 60), RngKey(5, 60))))"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    space = space_of(kind)
    assert other == str(typed(MAKERS[kind]().ask(space, history_of(space, 60), RngKey(5, 60))))
