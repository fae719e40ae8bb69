from typing import Any

import pytest

from hpo.choose import pick_sampler, resolve
from hpo.domain.errors import InvalidSpec
from hpo.spec.samplers import AutoSamplerSpec, GridSamplerSpec, RandomSamplerSpec
from hpo.spec.schedulers import AshaSpec, AutoSchedulerSpec, FifoSpec, PbtSpec
from hpo.spec.study import StudySpec
from tests.unit.hpo.builders import a_study


def scheduler(spec: StudySpec) -> AutoSchedulerSpec:
    assert isinstance(spec.scheduler, AutoSchedulerSpec)
    return spec.scheduler


def sampler(spec: StudySpec) -> AutoSamplerSpec:
    assert isinstance(spec.sampler, AutoSamplerSpec)
    return spec.sampler


def auto(**changes: Any) -> StudySpec:
    fields = {"sampler": {"type": "auto", "seed": 4}, "scheduler": {"type": "auto", "max_resource": 27}}
    return resolve(a_study(**fields | changes))


def test_what_was_chosen_by_the_user_stays() -> None:
    spec = a_study()
    assert resolve(spec) == spec


def test_a_scheduler_is_picked_with_its_reason() -> None:
    found = scheduler(auto())
    assert found.picked == AshaSpec(min_resource=3, max_resource=27, reduction_factor=3)
    assert found.why
    assert found.max_resource == 27


def test_trials_too_short_to_be_compared_are_all_trained_whole() -> None:
    found = scheduler(auto(scheduler={"type": "auto", "max_resource": 2}))
    assert found.picked == FifoSpec(max_resource=2)
    assert found.why is not None
    assert "short" in found.why


def test_proposals_that_learn_nothing_begin_at_the_first_epoch() -> None:
    assert scheduler(auto(sampler={"type": "random", "seed": 4})).picked == AshaSpec(max_resource=27)


CHOICE = {"type": "categorical", "name": "c", "choices": ["a", "b", "c"]}
NUMBER = {"type": "float", "name": "x", "low": 0, "high": 1}
LOSSES = [{"metric": f"m{n}", "direction": "minimize"} for n in range(4)]


@pytest.mark.parametrize(
    ("changes", "picked"),
    [
        ({}, "gp"),
        ({"search_space": [NUMBER, CHOICE | {"ordered": True}]}, "gp"),
        ({"search_space": [NUMBER, CHOICE]}, "rf"),
        ({"search_space": [CHOICE | {"choices": [1, 2]}, NUMBER | {"when": {"c": [1]}}]}, "rf"),
        ({"budget": {"max_trials": 5_000}}, "tpe"),
        ({"objectives": LOSSES[:2]}, "tpe"),
        ({"objectives": LOSSES}, "genetic"),
        ({"scheduler": {"type": "pbt", "max_resource": 8, "interval": 2}, "trainer": {"name": "synthetic"}}, "sobol"),
    ],
)
def test_the_sampler_suits_the_study(changes: dict[str, Any], picked: str) -> None:
    found = sampler(auto(**changes)).picked
    assert found is not None
    assert found.type == picked


def test_a_sampler_is_picked_with_its_reason_and_the_seed() -> None:
    found = sampler(auto())
    assert found.picked is not None
    assert found.why
    assert found.picked.seed == found.seed == 4


def test_a_small_space_is_gone_through_point_by_point() -> None:
    space = [{"type": "int", "name": "k", "low": 1, "high": 6}]
    found = sampler(auto(search_space=space, budget={"max_trials": 10}))
    assert found.picked == GridSamplerSpec(seed=4)
    assert found.why is not None
    assert "6 points" in found.why


def test_what_was_picked_once_is_not_picked_again() -> None:
    once = auto()
    assert resolve(once) == once
    earlier = once.sampler.model_copy(update={"picked": RandomSamplerSpec(seed=4), "why": "so it was"})
    assert sampler(resolve(once.model_copy(update={"sampler": earlier}))).why == "so it was"


def test_a_resolved_spec_comes_back_from_json_as_it_is() -> None:
    spec = auto()
    assert StudySpec.model_validate_json(spec.model_dump_json()) == spec


def test_auto_takes_a_grid_only_where_the_budget_covers_it() -> None:
    few = [{"type": "int", "name": "k", "low": 1, "high": 5}]
    grid, why = pick_sampler(a_study(sampler={"type": "auto", "seed": 3}, search_space=few))
    assert (grid.type, grid.seed) == ("grid", 3)
    assert "5 points" in why
    one, _ = pick_sampler(a_study(sampler={"type": "auto"}, search_space=few, budget={"max_trials": 4}))
    assert one.type != "grid"
    many = [{"metric": name, "direction": "minimize"} for name in "abcd"]
    front, _ = pick_sampler(
        a_study(sampler={"type": "auto"}, objectives=many, scheduler={"type": "fifo", "max_resource": 9})
    )
    assert front.type == "genetic"


def test_a_population_behind_auto_changes_only_what_its_trainer_can() -> None:
    pbt = {"type": "pbt", "max_resource": 8, "interval": 2}
    behind = {"type": "auto", "max_resource": 8, "picked": pbt}
    space = [{"type": "float", "name": name, "low": 0.1, "high": 1} for name in ("lr", "conv1")]
    plain, hidden = (
        resolve(a_study(trainer={"name": "image-cnn"}, search_space=space, scheduler=told)) for told in (pbt, behind)
    )
    assert isinstance(plain.chosen_scheduler, PbtSpec)
    assert plain.chosen_scheduler.mutate == ("lr",)
    assert hidden.chosen_scheduler == plain.chosen_scheduler
    with pytest.raises(InvalidSpec) as refused:
        resolve(a_study(scheduler=behind | {"picked": pbt | {"mutate": ["q"]}}))
    assert [error.pointer for error in refused.value.errors] == ["/scheduler/picked/mutate/0"]


@pytest.mark.parametrize("picked", [None, {"type": "sobol", "seed": 1}])
def test_the_chosen_sampler_is_the_one_picked_or_the_one_asked_for(picked: dict[str, Any] | None) -> None:
    behind = a_study(sampler={"type": "auto", "picked": picked}).chosen_sampler
    assert behind == (None if picked is None else a_study(sampler=picked).chosen_sampler)
