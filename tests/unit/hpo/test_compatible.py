from typing import Any

import pytest

from hpo.spec.compatible import incompatible
from tests.unit.hpo.builders import a_study

TWO = [{"metric": "loss", "direction": "minimize"}, {"metric": "acc", "direction": "maximize", "goal": 0.9}]
X = {"type": "float", "name": "x", "low": 0, "high": 1}
PBT = {"type": "pbt", "max_resource": 9, "interval": 3}


def found(**fields: Any) -> list[tuple[str, str]]:
    return [(error.pointer, error.code) for error in incompatible(a_study(**fields))]


def test_a_plain_study_has_no_contradiction() -> None:
    assert found() == []


@pytest.mark.parametrize("rule", ["median", "percentile", "threshold", "patience", "curve"])
def test_no_rule_goes_with_several_objectives(rule: str) -> None:
    needs: dict[str, dict[str, Any]] = {
        "percentile": {"percentile": 30},
        "threshold": {"upper": 1.0},
        "patience": {"patience": 2},
    }
    settings = {"type": rule, **needs.get(rule, {})}
    expected = "needs_one_objective"
    scheduler = settings | {"max_resource": 9}
    assert found(objectives=TWO, scheduler=scheduler) == [("/scheduler/type", expected)]
    assert found(objectives=TWO, pruners=[settings]) == [("/pruners/0/type", expected)]
    picked = {"type": "auto", "max_resource": 9, "picked": scheduler}
    assert found(objectives=TWO, scheduler=picked) == [("/scheduler/picked/type", expected)]
    assert found(scheduler=scheduler, pruners=[settings]) == []


def test_rungs_go_with_several_objectives() -> None:
    for scheduler in ("asha", "successive_halving", "hyperband", "fifo", "auto"):
        budget = {"max_trials": 50, "max_concurrent": 4}
        assert found(objectives=TWO, scheduler={"type": scheduler, "max_resource": 9}, budget=budget) == []


def test_stagnation_wants_one_objective_and_goals_do_not() -> None:
    assert found(objectives=TWO, stagnation={"trials": 5}) == [("/stagnation", "needs_one_objective")]
    assert found(stagnation={"trials": 5}) == []


@pytest.mark.parametrize("sampler", ["gp", "rf"])
def test_cost_wants_one_objective(sampler: str) -> None:
    costly = {"type": sampler, "cost": "epochs"}
    assert found(objectives=TWO, sampler=costly) == [("/sampler/cost", "needs_one_objective")]
    picked = {"type": "auto", "picked": costly}
    assert found(objectives=TWO, sampler=picked) == [("/sampler/picked/cost", "needs_one_objective")]
    assert found(sampler=costly) == []
    assert found(objectives=TWO, sampler={"type": sampler}) == []


@pytest.mark.parametrize("sampler", ["grid", "tpe", "gp", "rf", "bohb", "cma_es", "genetic"])
def test_pbt_refuses_samplers_that_learn_or_list(sampler: str) -> None:
    assert found(scheduler=PBT, sampler={"type": sampler}, search_space=[X | {"step": 0.01}]) == [
        ("/sampler/type", "sampler_with_pbt")
    ]
    picked = {"type": "auto", "picked": {"type": sampler}}
    assert found(scheduler=PBT, sampler=picked, search_space=[X | {"step": 0.01}]) == [
        ("/sampler/picked/type", "sampler_with_pbt")
    ]


@pytest.mark.parametrize("sampler", ["random", "sobol", "manual", "auto"])
def test_pbt_takes_samplers_that_draw_at_once(sampler: str) -> None:
    assert found(scheduler=PBT, sampler={"type": sampler}) == []


def test_a_refusal_says_why() -> None:
    (error,) = incompatible(a_study(scheduler=PBT, sampler={"type": "tpe"}))
    assert "tpe does not go with pbt, which draws its whole population at once" in error.message


def test_a_population_fits_the_budget() -> None:
    scheduler = PBT | {"population_size": 16}
    assert found(scheduler=scheduler, budget={"max_trials": 15}) == [("/budget/max_trials", "below_population")]
    assert found(scheduler=scheduler, budget={"max_trials": 16}) == []


def test_a_quantile_holds_at_least_one_member() -> None:
    assert found(scheduler=PBT | {"population_size": 4, "quantile": 0.2}) == [("/scheduler/quantile", "empty_quantile")]
    assert found(scheduler=PBT | {"population_size": 5, "quantile": 0.2}) == []


def test_only_parameters_that_may_change_are_mutated() -> None:
    space = [
        {"type": "categorical", "name": "optimizer", "choices": ["sgd", "adam"]},
        X | {"name": "momentum", "when": {"optimizer": ["sgd"]}},
        {"type": "fixed", "name": "width", "value": 64},
        X,
    ]
    mutate = ["x", "width", "momentum", "y", "optimizer"]
    errors = incompatible(a_study(scheduler=PBT | {"mutate": mutate}, search_space=space))
    assert [error.pointer for error in errors] == [f"/scheduler/mutate/{index}" for index in (1, 2, 3)]
    assert {error.code for error in errors} == {"not_mutable"}
    assert [error.message.split(": ")[1] for error in errors] == [
        "it is fixed",
        "it depends on optimizer",
        "the search space has only optimizer, momentum, width, x",
    ]


def test_n_full_is_at_most_the_number_of_trials() -> None:
    asha = {"type": "asha", "max_resource": 9, "n_full": 8}
    assert found(scheduler=asha, budget={"max_trials": 7}) == [("/scheduler/n_full", "above_max_trials")]
    assert found(scheduler=asha, budget={"max_trials": 8}) == []
    grid = found(scheduler=asha, sampler={"type": "grid"}, search_space=[X | {"step": 0.5}])
    assert grid == [("/scheduler/n_full", "above_max_trials")]  # the grid has three points


def test_rules_of_one_type_differ_in_a_setting() -> None:
    early, late = {"type": "median", "grace": 1}, {"type": "median", "grace": 5}
    assert found(pruners=[early, late]) == []
    assert found(pruners=[early, late, early]) == [("/pruners/2", "duplicate_pruner")]


@pytest.mark.parametrize(
    "fields",
    [
        {"sampler": {"type": "manual"}},
        {"sampler": {"type": "grid"}, "repeats": 3, "search_space": [X | {"step": 0.5}]},
        {"sampler": {"type": "bohb"}, "scheduler": {"type": "fifo", "max_resource": 9}},
    ],
)
def test_what_looks_odd_and_works_is_taken(fields: dict[str, Any]) -> None:
    assert found(**fields) == []


def test_all_contradictions_are_told_at_once() -> None:
    scheduler = PBT | {"population_size": 2, "quantile": 0.25}
    pruners = [{"type": "median"}, {"type": "median"}]
    assert found(
        objectives=TWO,
        scheduler=scheduler,
        sampler={"type": "gp", "cost": "epochs"},
        pruners=pruners,
        budget={"max_trials": 1},
    ) == [
        ("/pruners/0/type", "needs_one_objective"),
        ("/pruners/1/type", "needs_one_objective"),
        ("/sampler/cost", "needs_one_objective"),
        ("/sampler/type", "sampler_with_pbt"),
        ("/budget/max_trials", "below_population"),
        ("/scheduler/quantile", "empty_quantile"),
        ("/pruners/1", "duplicate_pruner"),
    ]
