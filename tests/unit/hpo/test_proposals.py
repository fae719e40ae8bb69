"""Proposals by themselves, with samplers that say what the test wants said."""

from collections.abc import Callable

import pytest

from hpo.domain.history import History, Params, RngKey, TrialRecord
from hpo.domain.trial import TrialState
from hpo.proposals import PROPOSALS, Proposals
from hpo.space.space import Space, broken_rule
from tests.unit.hpo.builders import a_study

K = {"type": "int", "name": "k", "low": 1, "high": 3}
X = {"type": "float", "name": "x", "low": 0, "high": 1}


class Says:
    """A sampler that answers by a function of the key, and remembers the keys."""

    def __init__(self, answer: Callable[[RngKey], Params]) -> None:
        self._answer = answer
        self.keys: list[RngKey] = []

    def ask(self, space: Space, history: History, key: RngKey) -> Params:
        self.keys.append(key)
        return self._answer(key)


def trial(number: int, **params: float) -> TrialRecord:
    return TrialRecord(number, params, TrialState.RUNNING)


def test_the_first_proposal_that_may_be_trained_is_taken() -> None:
    sampler = Says(lambda key: {"x": key.attempt / 10})
    proposals = Proposals(sampler, Space.of(a_study(search_space=[X])), repeats=1)
    assert proposals.ask([trial(0, x=0.0), trial(1, x=0.1)], RngKey(5, 2)) == {"x": 0.2}
    assert [key.attempt for key in sampler.keys] == [0, 1, 2]
    assert {(key.seed, key.number) for key in sampler.keys} == {(5, 2)}


def test_a_sampler_that_insists_gives_way_to_chance() -> None:
    sampler = Says(lambda key: {"x": 0.5})
    proposals = Proposals(sampler, Space.of(a_study(search_space=[X])), repeats=1)
    history = [trial(0, x=0.5)]
    drawn = proposals.ask(history, RngKey(5, 1))
    assert drawn is not None
    assert drawn != {"x": 0.5}
    assert len(sampler.keys) == PROPOSALS
    assert Proposals(sampler, Space.of(a_study(search_space=[X])), repeats=1).ask(history, RngKey(5, 1)) == drawn


def test_a_proposal_that_breaks_a_rule_is_never_taken() -> None:
    space = Space.of(a_study(search_space=[X, X | {"name": "y"}], space_constraints=["x + y <= 0.1"]))
    proposals = Proposals(Says(lambda key: {"x": 0.9, "y": 0.9}), space, repeats=1)
    params = proposals.ask([], RngKey(5, 0))
    assert params is not None
    assert broken_rule(space, params) is None


def test_the_last_free_points_are_found_among_very_many_taken() -> None:
    space = Space.of(a_study(search_space=[K | {"high": 2000}]))
    proposals = Proposals(Says(lambda key: {"k": 1}), space, repeats=1)
    history = [trial(number, k=number + 1) for number in range(1998)]
    first = proposals.ask(history, RngKey(5, 1998))
    assert first is not None
    assert first in ({"k": 1999}, {"k": 2000})
    last = proposals.ask([*history, TrialRecord(1998, first, TrialState.RUNNING)], RngKey(5, 1999))
    assert {first["k"], (last or {})["k"]} == {1999, 2000}
    full = [*history, trial(1998, k=1999), trial(1999, k=2000)]
    assert proposals.ask(full, RngKey(5, 2000)) is None


@pytest.mark.parametrize("repeats", [1, 2, 3])
def test_a_configuration_is_proposed_as_often_as_it_may_be_repeated(repeats: int) -> None:
    proposals = Proposals(Says(lambda key: {"k": 1}), Space.of(a_study(search_space=[K])), repeats=repeats)
    history: list[TrialRecord] = []
    while (params := proposals.ask(list(history), RngKey(5, len(history)))) is not None:
        history.append(trial(len(history), k=int(params["k"])))
    assert sorted(record.params["k"] for record in history) == sorted([1, 2, 3] * repeats)
    assert [record.params["k"] for record in history[:repeats]] == [1] * repeats


def test_what_a_configuration_does_not_use_makes_no_difference() -> None:
    child = {"type": "int", "name": "k", "low": 1, "high": 2, "when": {"c": ["a"]}}
    space = Space.of(a_study(search_space=[{"type": "categorical", "name": "c", "choices": ["a", "b"]}, child]))
    proposals = Proposals(Says(lambda key: {"c": "b"}), space, repeats=1)
    history = [TrialRecord(0, {"c": "b", "k": 2}, TrialState.RUNNING)]  # from before k had its condition
    params = proposals.ask(history, RngKey(5, 1))
    assert params in ({"c": "a", "k": 1}, {"c": "a", "k": 2})


def test_counts_follow_a_history_that_shrinks_and_changes_in_the_middle() -> None:
    proposals = Proposals(Says(lambda key: {"k": 1}), Space.of(a_study(search_space=[K])), repeats=1)
    history = [trial(0, k=1), trial(1, k=2), trial(2, k=3)]
    assert proposals.ask(history, RngKey(5, 3)) is None
    assert proposals.ask([trial(0, k=2), history[1], history[2]], RngKey(5, 3)) == {"k": 1}
    assert proposals.ask(history[:2], RngKey(5, 2)) == {"k": 3}
    assert proposals.ask([], RngKey(5, 0)) == {"k": 1}
    assert proposals.ask(history, RngKey(5, 3)) is None


def test_trials_of_earlier_studies_may_be_trained_again() -> None:
    proposals = Proposals(Says(lambda key: {"k": 1}), Space.of(a_study(search_space=[K])), repeats=1)
    earlier = [trial(-2, k=1), trial(-1, k=2)]
    assert proposals.ask([*earlier, trial(0, k=2)], RngKey(5, 1)) == {"k": 1}
    assert proposals.ask([*earlier, trial(0, k=1)], RngKey(5, 1)) in ({"k": 2}, {"k": 3})
