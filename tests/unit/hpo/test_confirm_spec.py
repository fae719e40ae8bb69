"""What a study may ask of its confirmation, and the study that carries it out."""

from typing import Any

import pytest
from pydantic import ValidationError

from hpo.domain.errors import InvalidSpec
from hpo.domain.trial import training_seed
from hpo.lifecycle.studies import normalise
from hpo.spec.confirm import confirm_errors, confirming_spec, epochs_to_confirm, fresh_seed, names, same_split
from hpo.spec.study import Confirm, StudySpec
from tests.unit.hpo.builders import a_study

IMAGES: dict[str, Any] = {
    "objectives": [{"metric": "val_acc", "direction": "maximize", "goal": 0.9}],
    "search_space": [{"name": "lr", "type": "float", "low": 1e-4, "high": 1e-2}],
    "trainer": {"name": "image-cnn", "config": {"dataset": "digits", "dropout": 0.1}},
}


def confirming(spec: StudySpec, winners: int = 2) -> StudySpec:
    params = [{param.name: 0.001 * (number + 1) for param in spec.search_space} for number in range(winners)]
    return confirming_spec(spec, "c", params, trials=7)


def errors(**fields: Any) -> dict[str, str]:
    return {error.pointer: error.message for error in confirm_errors(a_study(**fields))}


def test_five_seeds_are_usual_and_folds_take_their_place() -> None:
    assert (Confirm().seeds, Confirm().replicates) == (5, 5)
    assert (Confirm(folds=4).seeds, Confirm(folds=4).replicates) == (None, 1)
    assert Confirm.model_validate_json(Confirm(folds=4).model_dump_json()) == Confirm(folds=4)
    with pytest.raises(ValidationError, match="seeds or folds"):
        Confirm(seeds=3, folds=3)
    with pytest.raises(ValidationError, match="at most 1000 trainings"):
        Confirm(top=50, seeds=50)


def test_replicates_are_trained_as_long_as_a_whole_trial_and_nothing_ends_them_early() -> None:
    spec = a_study(
        **IMAGES,
        confirm={"top": 2, "seeds": 3, "config": {"train_fraction": 1.0, "dropout": 0.2}},
        pruners=[{"type": "patience", "patience": 2}],
        stagnation={"trials": 4},
        priority=100,
        labels={"team": "a"},
        budget={"max_trials": 9, "max_concurrent": 2, "max_gpu_hours": 1.0},
    )
    child = confirming(spec)
    assert child.trainer.config == {"dataset": "digits", "dropout": 0.2, "train_fraction": 1.0}
    assert (child.sampler.type, child.scheduler.type, child.scheduler.max_resource) == ("manual", "fifo", 9)
    assert [params["lr"] for params in child.enqueue] == [0.001] * 3 + [0.002] * 3
    assert (child.budget.max_trials, child.budget.max_epochs, child.budget.max_concurrent) == (7, 63, 2)
    assert child.budget.max_gpu_hours is None
    assert (child.objective.metric, child.objective.goal) == ("val_acc", None)
    assert (child.pruners, child.stagnation, child.confirm) == ((), None, None)
    assert (child.priority, child.labels) == (100, {"team": "a", "confirms": "plain"})
    assert normalise(child).enqueue == child.enqueue


def test_folds_are_the_steps_of_a_replicate_and_each_as_long_as_a_whole_trial() -> None:
    child = confirming(a_study(**IMAGES, confirm={"folds": 4}))
    assert (child.trainer.config["folds"], child.trainer.config["fold_epochs"]) == (4, 9)
    assert (child.scheduler.max_resource, len(child.enqueue)) == (4, 2)
    searched = {**IMAGES["trainer"], "config": {"folds": 9, "fold_epochs": 3}}
    child = confirming(a_study(**{**IMAGES, "trainer": searched}, confirm={"folds": 4}))
    assert (child.trainer.config["folds"], child.trainer.config["fold_epochs"]) == (4, 3)


@pytest.mark.parametrize(
    ("confirm", "config", "timeout_s"),
    [
        ({"seeds": 3}, {}, 60.0),
        ({"folds": 4}, {}, 240.0),
        ({"folds": 3}, {"folds": 9, "fold_epochs": 3}, 20.0),
        ({"seeds": 3, "config": {"train_fraction": 1.0}}, {}, None),
    ],
)
def test_a_replicate_has_the_time_that_its_trainings_had_in_the_search(
    confirm: dict[str, Any], config: dict[str, Any], timeout_s: float | None
) -> None:
    trainer = {"name": "image-cnn", "config": {"dataset": "digits", **config}, "timeout_s": 60.0}
    child = confirming(a_study(**{**IMAGES, "trainer": trainer}, confirm=confirm))
    assert child.trainer.timeout_s == timeout_s


@pytest.mark.parametrize(
    ("pointer", "says", "fields"),
    [
        ("/confirm", "external has no sealed test part", {"trainer": {"name": "external"}}),
        (
            "/confirm",
            "2 objectives",
            {"objectives": [{"metric": m, "direction": "minimize"} for m in ("loss", "cost")]},
        ),
        ("/confirm/top", "at most the study's 2 trials, got 3", {"budget": {"max_trials": 2}}),
        (
            "/confirm",
            "pbt changes params",
            {"scheduler": {"type": "pbt", "max_resource": 9, "population_size": 4, "interval": 3}},
        ),
        ("/confirm/config/x", "'x' is searched", {"confirm": {"config": {"x": 0.5}}}),
        ("/confirm/config/y", "less than or equal to 1", {"confirm": {"config": {"y": 2.0}}}),
        ("/confirm/config/a~1b", "unknown entry", {"confirm": {"config": {"a/b": 2.0}}}),
        ("/confirm/config/folds", "confirm.folds says", {"confirm": {"config": {"folds": 3}}}),
        ("/confirm/folds", "knows no folds", {"confirm": {"folds": 3}}),
    ],
)
def test_what_cannot_be_confirmed_is_refused_where_it_was_asked_for(
    pointer: str, says: str, fields: dict[str, Any]
) -> None:
    found = errors(**{"confirm": {}, **fields})
    assert list(found) == [pointer]
    assert says in found[pointer]


def test_an_architecture_that_does_not_take_the_other_images_is_refused() -> None:
    fields = IMAGES | {"confirm": {"config": {"image_size": 2}}}
    assert list(errors(**fields)) == ["/confirm/config/image_size"]
    assert errors(**IMAGES, confirm={}) == {}
    with pytest.raises(InvalidSpec):
        normalise(a_study(**fields))


def test_no_replicate_has_the_training_seed_of_a_trial_of_the_search() -> None:
    for seed in (0, 1, 7, 2**31 - 1):
        spec = a_study(sampler={"type": "random", "seed": seed})
        mine = {training_seed(seed, number) for number in range(1000)}
        fresh = fresh_seed(spec, trials=1000, replicates=16)
        assert fresh == fresh_seed(spec, trials=1000, replicates=16)
        theirs = {training_seed(fresh, number) for number in range(16)}
        assert len(theirs) == 16
        assert not theirs & mine


def test_another_seed_is_tried_where_the_first_would_meet_the_search() -> None:
    # A search of nearly all seeds leaves room in a corner only.
    spec = a_study(sampler={"type": "random", "seed": 3})
    trials = 2**31 - 2**20
    fresh = fresh_seed(spec, trials=trials, replicates=16)
    assert trials <= (training_seed(fresh, 0) - training_seed(3, 0)) % 2**31 <= 2**31 - 16


def test_a_name_of_a_hundred_characters_is_cut_so_that_its_confirmation_has_one() -> None:
    tried = names("n" * 100)
    first, second = next(tried), next(tried)
    assert (len(first), first[-9:]) == (100, "n.confirm")
    assert (len(second), second[-11:]) == (100, "n.confirm-2")


def test_other_data_has_another_split() -> None:
    assert same_split(a_study(**IMAGES, confirm={"config": {"train_fraction": 1.0}}))
    assert not same_split(a_study(**IMAGES, confirm={"config": {"data_path": "whole"}}))


def test_the_epochs_of_a_confirmation_are_known_beforehand() -> None:
    assert epochs_to_confirm(a_study()) is None
    for confirm in ({"top": 2, "seeds": 3}, {"top": 2, "folds": 3}):
        assert epochs_to_confirm(a_study(**IMAGES, confirm=confirm)) == (2 * 3 + 1) * 9
