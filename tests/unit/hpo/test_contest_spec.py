"""A contest's studies: how methods are merged over what all share, and where a field came from."""

from typing import Any

import pytest
from pydantic import ValidationError

from hpo.domain.errors import InvalidSpec
from hpo.lifecycle.contests import study_specs
from hpo.spec.contest import MAX_SEEDS, ContestSpec
from hpo.spec.samplers import AutoSamplerSpec

COMMON: dict[str, Any] = {
    "objectives": [{"metric": "loss", "direction": "minimize"}],
    "search_space": [{"name": "x", "type": "float", "low": 0.0, "high": 1.0}],
    "trainer": {"name": "synthetic"},
}


def contest(*methods: dict[str, Any], **changes: Any) -> ContestSpec:
    plain = {"name": "c", "study": COMMON, "methods": methods or [{"name": "a"}], "budget": {"max_epochs": 50}}
    return ContestSpec.model_validate(plain | changes)


def test_a_count_of_seeds_stands_for_the_first_ones() -> None:
    assert contest(seeds=3).seeds == contest(seeds=[0, 1, 2]).seeds == (0, 1, 2)
    assert contest().seeds == (0,)
    assert len(contest(seeds=MAX_SEEDS).entries) == MAX_SEEDS


@pytest.mark.parametrize("seeds", [0, MAX_SEEDS + 1, True, "3", [], [1.5], [2**31], None])
def test_what_is_no_seed_is_refused(seeds: Any) -> None:
    with pytest.raises(ValidationError):
        contest(seeds=seeds)


def test_studies_are_in_turns_of_their_methods() -> None:
    entries = contest({"name": "a"}, {"name": "b"}, seeds=[7, 3]).entries
    assert [entry.name for entry in entries] == ["c.a.s7", "c.b.s7", "c.a.s3", "c.b.s3"]
    assert [(entry.method, entry.seed) for entry in entries] == [(0, 7), (1, 7), (0, 3), (1, 3)]


def test_a_name_may_have_a_hundred_characters_and_no_more() -> None:
    longest = "m" * (100 - len("c..s10"))
    assert {len(entry.name) for entry in contest({"name": longest}, seeds=[10]).entries} == {100}
    with pytest.raises(ValidationError, match="at most 100 characters"):
        contest({"name": longest}, seeds=[100])


def test_null_leaves_a_common_field_and_an_empty_list_takes_it_away() -> None:
    common = COMMON | {"pruners": [{"type": "patience", "patience": 2}], "stagnation": {"trials": 4}}
    kept, bare = study_specs(contest({"name": "a", "pruners": None}, {"name": "b", "pruners": []}, study=common))
    assert [pruner.type for pruner in kept.pruners] == ["patience"]
    assert bare.pruners == ()
    assert kept.stagnation is not None
    assert bare.stagnation == kept.stagnation


def test_a_seed_reaches_the_sampler_and_what_auto_picked() -> None:
    specs = study_specs(
        contest({"name": "a", "sampler": {"type": "auto"}}, {"name": "b", "sampler": {"type": "random"}}, seeds=[4, 9])
    )
    assert [spec.sampler.seed for spec in specs] == [4, 4, 9, 9]
    picked = [spec.sampler.picked for spec in specs if isinstance(spec.sampler, AutoSamplerSpec)]
    assert [one.seed for one in picked if one is not None] == [4, 9]


def test_studies_of_a_method_differ_in_name_label_and_seed_only() -> None:
    first, second = study_specs(contest({"name": "a", "sampler": {"type": "tpe"}}, seeds=2))
    blank: dict[str, Any] = {"name": "", "labels": {}, "sampler": first.sampler}
    assert first.model_copy(update=blank) == second.model_copy(update=blank)
    assert (first.labels, second.labels) == (
        {"contest": "c", "method": "a", "seed": "0"},
        {"contest": "c", "method": "a", "seed": "1"},
    )


@pytest.mark.parametrize(
    ("pointer", "origin"),
    [
        ("/sampler/n_startup_trials", "/methods/1/sampler/n_startup_trials"),
        ("/scheduler/max_resource", "/study/scheduler/max_resource"),
        ("/search_space/0", "/study/search_space/0"),
        ("/pruners/0", "/methods/1/pruners/0"),
        ("/name", "/methods/1/name"),
        ("/budget/max_epochs", "/budget/max_epochs"),
        ("/budget/max_trials", "/budget"),
        ("/budget/max_concurrent", "/study/budget/max_concurrent"),
        ("", "/study"),
    ],
)
def test_a_field_of_a_study_is_found_where_the_contest_gave_it(pointer: str, origin: str) -> None:
    made = contest({"name": "a"}, {"name": "b", "sampler": {"type": "tpe"}, "pruners": []})
    assert made.origin(made.entries[1], pointer) == origin


def test_a_bound_of_trials_that_was_given_is_found_where_it_was_given() -> None:
    made = contest(study=COMMON | {"budget": {"max_trials": 3}})
    assert made.origin(made.entries[0], "/budget/max_trials") == "/study/budget/max_trials"
    assert study_specs(made)[0].budget.max_trials == 3


def test_a_stored_contest_is_read_as_it_was_given() -> None:
    made = contest({"name": "a", "sampler": {"type": "random"}}, seeds=2)
    assert ContestSpec.model_validate_json(made.model_dump_json(exclude_unset=True)) == made


IMAGES: dict[str, Any] = {
    "objectives": [{"metric": "val_acc", "direction": "maximize"}],
    "search_space": [{"name": "lr", "type": "float", "low": 1e-4, "high": 1e-2}],
    "trainer": {"name": "image-cnn", "config": {"dataset": "digits", "dropout": 0.1}},
    "confirm": {"top": 1, "seeds": 2},
}


def test_a_method_has_entries_of_the_trainer_of_its_own_and_a_confirmation() -> None:
    plain, whole = study_specs(
        contest(
            {"name": "a"},
            {"name": "b", "config": {"dropout": 0.3, "balance": "subset"}, "confirm": {"top": 2}},
            study=IMAGES,
        )
    )
    assert plain.trainer.config == {"dataset": "digits", "dropout": 0.1}
    assert whole.trainer.config == {"dataset": "digits", "dropout": 0.3, "balance": "subset"}
    assert (plain.trainer.name, whole.trainer.name) == ("image-cnn", "image-cnn")
    assert plain.confirm is not None
    assert whole.confirm is not None
    assert (plain.confirm.top, plain.confirm.seeds) == (1, 2)
    assert (whole.confirm.top, whole.confirm.seeds) == (2, 5)


@pytest.mark.parametrize(
    ("method", "pointer"),
    [
        ({"config": {"dropout": 7.0}}, "/methods/0/config/dropout"),
        ({"config": {"a/b": 7.0}}, "/methods/0/config/a~1b"),
        (
            {"config": {"balance": "subset"}, "confirm": {"config": {"dropout": 7.0}}},
            "/methods/0/confirm/config/dropout",
        ),
    ],
)
def test_an_entry_that_is_refused_is_found_in_its_method(method: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        study_specs(contest({"name": "a", **method}, study=IMAGES))
    assert [error.pointer for error in refused.value.errors] == [pointer]


def test_an_entry_that_is_refused_in_all_methods_is_found_in_what_they_share() -> None:
    trainer = {"name": "image-cnn", "config": {"dropout": 7.0}}
    with pytest.raises(InvalidSpec) as refused:
        study_specs(contest({"name": "a", "config": {"balance": "subset"}}, study=IMAGES | {"trainer": trainer}))
    assert [error.pointer for error in refused.value.errors] == ["/study/trainer/config/dropout"]
