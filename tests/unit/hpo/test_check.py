from typing import Any

import pytest

from hpo.spec.check import check
from hpo.spec.study import StudySpec
from tests.unit.hpo.builders import a_study


def floats(name: str, low: float, high: float, **more: Any) -> dict[str, Any]:
    return {"type": "float", "name": name, "low": low, "high": high, **more}


def ints(name: str, low: int, high: int) -> dict[str, Any]:
    return {"type": "int", "name": name, "low": low, "high": high}


def choice(name: str, *choices: Any) -> dict[str, Any]:
    return {"type": "categorical", "name": name, "choices": choices}


def image_study(*space: dict[str, Any], config: dict[str, Any] | None = None, **fields: Any) -> StudySpec:
    trainer = {"name": "image-cnn", "config": config or {}}
    metric = [{"metric": "val_acc", "direction": "maximize"}]
    space = space or (floats("lr", 1e-4, 0.1, log=True),)
    return a_study(**{"trainer": trainer, "objectives": metric, "search_space": space} | fields)


def found(spec: StudySpec) -> list[tuple[str, str]]:
    return [(error.pointer, error.code) for error in check(spec)]


def test_a_study_that_can_run_has_no_error() -> None:
    assert check(a_study()) == []
    assert check(image_study()) == []
    assert (
        check(image_study(choice("optimizer", "sgd", "adam"), ints("filters1", 8, 64), floats("dropout", 0, 0.5))) == []
    )


def test_an_unknown_trainer_is_told_the_known_ones() -> None:
    (error,) = check(a_study(trainer={"name": "keras"}))
    assert (error.pointer, error.code) == ("/trainer/name", "unknown_trainer")
    assert "'keras', want one of external, image-cnn, synthetic" in error.message


def test_an_installed_trainer_that_the_operator_allows_may_have_any_metric_and_entry() -> None:
    fields = {"trainer": {"name": "my-net", "config": {"anything": [1]}}}
    metric = [{"metric": "val/whatever", "direction": "maximize"}]
    assert check(a_study(**fields, objectives=metric), installed=("my-net", "other")) == []
    (error,) = check(a_study(**fields), installed=("other",))
    assert (
        "'my-net', want one of external, image-cnn, other, synthetic; an installed one must be named by"
        in error.message
    )


def test_what_is_fixed_and_searched_is_refused_of_an_installed_trainer_too() -> None:
    spec = a_study(trainer={"name": "my-net", "config": {"x": 1}})
    assert [error.code for error in check(spec, installed=("my-net",))] == ["fixed_and_searched"]


def test_an_external_trainer_may_have_any_metric_name_and_entry() -> None:
    assert check(a_study(trainer={"name": "external", "config": {"anything": [1]}})) == []


def test_a_metric_that_the_trainer_does_not_report_is_refused() -> None:
    assert found(image_study(objectives=[{"metric": "accuracy", "direction": "maximize"}])) == [
        ("/objectives/0/metric", "unknown_metric")
    ]


def test_a_name_that_is_both_fixed_and_searched_is_refused() -> None:
    assert found(image_study(config={"lr": 0.1})) == [("/search_space/0/name", "fixed_and_searched")]


def test_names_that_the_trainer_does_not_know_are_refused() -> None:
    spec = image_study(floats("lr", 0.1, 0.2), ints("layers", 1, 2), config={"epochs": 3, "a/b~c": 1})
    assert sorted(found(spec)) == [
        ("/search_space/1/name", "unknown_name"),
        ("/trainer/config/a~1b~0c", "unknown_name"),
        ("/trainer/config/epochs", "unknown_name"),
    ]


@pytest.mark.parametrize(
    "param",
    [
        floats("lr", 0, 0.1),  # lr must be > 0
        floats("lr", 1, 100),
        choice("optimizer", "sgd", "nadam"),
        choice("batch_size", 32, 64, 9000),
        choice("batch_size", 32, 64.5),
        floats("batch_size", 16, 64),
        choice("lr", True, 0.1),
        choice("image_size", 8, 5000),
        choice("architecture", "two_conv", "perceptron"),
    ],
)
def test_a_value_of_the_space_that_the_trainer_refuses_is_found(param: dict[str, Any]) -> None:
    assert found(image_study(floats("momentum", 0, 0.9), param)) == [("/search_space/1", "value_refused")]


def test_a_refused_value_of_the_configuration_is_found() -> None:
    (error,) = check(image_study(config={"dataset": "imagenet"}))
    assert (error.pointer, error.code) == ("/trainer/config/dataset", "value_refused")
    assert "got 'imagenet', want one of" in error.message


def test_all_errors_are_told_at_once() -> None:
    spec = image_study(
        floats("lr", 0, 100),
        choice("optimizer", "nadam"),
        config={"batch_size": 0, "amp": "fp8"},
        objectives=[{"metric": "acc", "direction": "maximize"}],
    )
    assert sorted(pointer for pointer, _ in found(spec)) == [
        "/objectives/0/metric",
        "/search_space/0",
        "/search_space/1",
        "/trainer/config/amp",
        "/trainer/config/batch_size",
    ]


@pytest.mark.parametrize(
    "param",
    [
        choice("dataset", "digits", "cifar10"),
        choice("data_path", "a.npz", "b.npz"),
        ints("split_seed", 0, 9),
        {"type": "fixed", "name": "split_seed", "value": 3},
        floats("val_fraction", 0.1, 0.3),
        ints("folds", 2, 5),
    ],
)
def test_what_all_trials_are_judged_by_is_not_searched(param: dict[str, Any]) -> None:
    config = {} if param["name"] == "dataset" else {"dataset": "cifar10"}
    assert ("/search_space/0/name", "not_searchable") in found(image_study(param, config=config))


def test_a_study_of_folds_has_a_step_for_every_fold() -> None:
    space = floats("lr", 0.1, 0.2)
    assert found(image_study(space, config={"folds": 5}, scheduler={"type": "fifo", "max_resource": 5})) == []
    (error,) = check(image_study(space, config={"folds": 5}, scheduler={"type": "fifo", "max_resource": 9}))
    assert (error.pointer, error.code) == ("/scheduler/max_resource", "not_the_folds")
    assert error.message == "with folds a step is a fold: max_resource must be 5, got 9"


def test_a_constraint_on_a_metric_that_is_not_reported_is_refused() -> None:
    wrong = [{"metric": "weight_kg", "op": "<=", "value": 1}, {"metric": "params_m", "op": "<=", "value": 1}]
    assert found(image_study(floats("lr", 0.1, 0.2), constraints=wrong)) == [
        ("/constraints/0/metric", "unknown_metric")
    ]


def test_an_architecture_that_does_not_fit_the_image_is_refused() -> None:
    (error,) = check(image_study(config={"architecture": "resnet_small", "stages": 6}))
    assert error.pointer == "/trainer/config/architecture"
    assert "needs images of 32 px, digits has 8 px" in error.message


def test_a_searched_architecture_is_tried_on_every_searched_size() -> None:
    both = choice("image_size", 8, 32), choice("architecture", "two_conv", "resnet_small")
    assert found(image_study(*both)) == []
    fits = image_study(both[1], config={"dataset": "cifar10", "stages": 6})
    assert found(fits) == [("/trainer/config/stages", "unknown_name")]  # two_conv has no stages
    resnet = image_study(both[0], ints("stages", 1, 6), config={"architecture": "resnet_small", "width": 8})
    assert found(resnet) == [("/trainer/config/architecture", "value_refused")]


def test_an_entry_of_one_architecture_cannot_be_searched_beside_another() -> None:
    (error,) = check(image_study(choice("architecture", "two_conv", "resnet_small"), ints("filters1", 8, 64)))
    assert (error.pointer, error.code) == ("/search_space/1/name", "unknown_name")
    assert "an entry of two_conv, not of resnet_small" in error.message


def test_values_that_do_not_go_together_at_their_largest_are_refused() -> None:
    spec = image_study(
        choice("width", 256, 16), ints("stages", 1, 6), config={"architecture": "resnet_small", "dataset": "cifar10"}
    )
    assert found(spec) == [("/search_space/0", "value_refused")]


def test_a_grid_over_a_continuous_parameter_is_told_what_is_wanted() -> None:
    spec = image_study(floats("lr", 1e-4, 0.1, log=True), floats("momentum", 0, 0.9), sampler={"type": "grid"})
    first, second = check(spec)
    assert [error.pointer for error in (first, second)] == ["/search_space/0/step", "/search_space/1/step"]
    assert "list its values as a categorical parameter" in first.message
    assert "give a step" in second.message


def test_a_grid_larger_than_the_budget_is_fine() -> None:
    assert found(a_study(sampler={"type": "grid"}, search_space=[floats("x", 0, 1, step=1e-7)])) == []


def test_a_thousand_choices_are_checked_to_the_last() -> None:
    sizes = choice("batch_size", *range(2, 1001), 10_000)
    assert found(image_study(sizes)) == [("/search_space/0", "value_refused")]


def test_conditions_are_kept_when_the_ends_of_a_space_are_tried() -> None:
    architecture = choice("architecture", "two_conv", "resnet_small")
    data = {"dataset": "cifar10"}
    only = ints("filters1", 8, 64) | {"when": {"architecture": "two_conv"}}
    assert found(image_study(architecture, only, config=data)) == []
    wrong = ints("filters1", 8, 64) | {"when": {"architecture": "resnet_small"}}
    assert found(image_study(architecture, wrong, config=data)) == [("/search_space/1/name", "unknown_name")]


@pytest.mark.parametrize("parent", ["sgd", "adam"])
def test_a_refused_value_is_found_under_any_condition(parent: str) -> None:
    momentum = floats("momentum", 0, 9) | {"when": {"optimizer": parent}}
    assert found(image_study(choice("optimizer", "sgd", "adam"), momentum)) == [("/search_space/1", "value_refused")]


def test_a_refused_value_is_found_behind_nested_conditions() -> None:
    space = (
        choice("amp", "bf16", "float32"),
        choice("optimizer", "adam", "sgd") | {"when": {"amp": "bf16"}},
        floats("momentum", 0, 9) | {"when": {"optimizer": "sgd"}},
    )
    pointers = {pointer for pointer, _ in found(image_study(*space))}
    assert "/search_space/2" in pointers


def test_a_fixed_value_that_the_trainer_refuses_is_found() -> None:
    fixed = {"type": "fixed", "name": "batch_size", "value": 9000}
    assert found(image_study(floats("lr", 0.1, 0.2), fixed)) == [("/search_space/1", "value_refused")]


def test_what_the_rules_of_the_space_exclude_is_not_held_against_it() -> None:
    pair = (choice("architecture", "two_conv", "resnet_small"), choice("image_size", 8, 32))
    deep = ints("stages", 1, 6) | {"when": {"architecture": "resnet_small"}}
    assert found(image_study(*pair, deep)) == [("/search_space/0", "value_refused")]  # six stages need 32 px
    allowed = image_study(*pair, deep, forbidden=[{"architecture": "resnet_small", "image_size": 8}])
    assert found(allowed) == []


def test_a_refused_value_is_found_beside_a_rule_that_forbids_all_highest_at_once() -> None:
    space = (floats("lr", 1e-3, 100), floats("momentum", 0, 0.9))
    assert found(image_study(*space)) == [("/search_space/0", "value_refused")]
    assert found(image_study(*space, space_constraints=["lr + momentum <= 100.5"])) == [
        ("/search_space/0", "value_refused")
    ]
