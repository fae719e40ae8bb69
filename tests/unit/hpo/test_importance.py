"""Importances of parameters, and which trials they may be computed from."""

from typing import Any

import numpy as np
import pytest

from hpo.analysis.importance import importance
from hpo.analysis.observations import ENOUGH, FEWEST, Observation, level_to_compare
from hpo.domain.trial import TrialState
from hpo.space.definition import Space
from hpo.space.space import sample
from hpo.spec.search import Objective
from hpo.spec.study import StudySpec

UP, DOWN = Objective(metric="acc", direction="maximize"), Objective(metric="err", direction="minimize")
# Not in the order of their names: Optuna's forests take the names that they are given for sorted ones.
ZED = {"name": "zed", "type": "float", "low": 0, "high": 1}
ALPHA = {"name": "alpha", "type": "int", "low": 1, "high": 64, "log": True}
MID = {"name": "mid", "type": "categorical", "choices": ["a", 1, True]}
SOMETIMES = {"name": "sometimes", "type": "float", "low": 0, "high": 1, "when": {"mid": ["a"]}}
FIXED = {"name": "fixed", "type": "fixed", "value": 3}


def space(*params: dict[str, Any]) -> Space:
    return Space.of(
        StudySpec.model_validate(
            {
                "name": "s",
                "objectives": [{"metric": "acc", "direction": "maximize"}],
                "search_space": list(params),
                "trainer": {"name": "external"},
            }
        )
    )


def trials(of: Space, value: Any, n: int = 60) -> list[Observation]:
    rng = np.random.default_rng(3)
    drawn = [sample(of, rng) for _ in range(n)]
    return [Observation(at, p, (float(value(p)),), TrialState.COMPLETE, 3) for at, p in enumerate(drawn)]


@pytest.mark.parametrize("method", ["ped_anova", "fanova", "mdi"])
@pytest.mark.parametrize("decisive", ["zed", "alpha"])
def test_the_parameter_that_decides_has_the_greatest_share(method: Any, decisive: str) -> None:
    ours = space(ZED, ALPHA, MID, FIXED)
    found = importance(ours, UP, trials(ours, lambda p: p[decisive]), method=method)
    assert set(found.values) == {"zed", "alpha", "mid"}
    assert next(iter(found.values)) == decisive
    assert list(found.values.values()) == sorted(found.values.values(), reverse=True)
    assert sum(found.values.values()) == pytest.approx(1)
    assert (found.n_trials, found.reason) == (60, None)


def test_what_is_good_is_told_by_the_direction() -> None:
    ours = space(ZED, MID)
    # Only low values tell: those above are all the same.
    seen = trials(ours, lambda p: min(p["zed"], 0.2) + 0.01 * (p["mid"] == "a"))
    assert importance(ours, DOWN, seen, method="ped_anova").values["zed"] > 0.9
    assert importance(ours, UP, seen, method="ped_anova").values["zed"] < 0.7


def test_only_ped_anova_judges_what_some_trials_have() -> None:
    ours = space(ZED, MID, SOMETIMES)
    seen = trials(ours, lambda p: p.get("sometimes", 0.0))
    assert "sometimes" in importance(ours, UP, seen, method="ped_anova").values
    found = importance(ours, UP, seen, method="mdi")
    assert set(found.values) == {"zed", "mid"}
    assert found.reason is not None
    assert found.reason.startswith("sometimes: active in some trials only")


def test_two_parameters_that_matter_together_are_the_strongest_pair() -> None:
    ours = space(ZED, ALPHA, MID)
    found = importance(ours, UP, trials(ours, lambda p: p["zed"] * (p["alpha"] > 8)), method="fanova")
    assert found.pairs[0].params == ("zed", "alpha")
    assert found.pairs[0].value > 2 * found.pairs[1].value
    assert len(found.pairs) == 3
    assert all(0 <= pair.value <= 1 for pair in found.pairs)


def test_the_same_trials_give_the_same_forest() -> None:
    ours = space(ZED, ALPHA)
    seen = trials(ours, lambda p: p["zed"], n=20)
    assert importance(ours, UP, seen, method="fanova") == importance(ours, UP, seen, method="fanova")


def test_the_objective_is_chosen_by_its_position() -> None:
    ours = space(ZED, ALPHA)
    both = [
        Observation(one.number, one.params, (float(one.params["zed"]), float(one.params["alpha"])), one.state, 3)
        for one in trials(ours, lambda p: 0)
    ]
    for which, decisive in enumerate(("zed", "alpha")):
        assert next(iter(importance(ours, UP, both, which=which, method="ped_anova").values)) == decisive


def test_too_little_to_say_is_said() -> None:
    ours = space(ZED, FIXED)
    few = importance(ours, UP, trials(ours, lambda p: p["zed"], n=FEWEST - 1), method="ped_anova")
    assert (few.values, few.reason) == ({}, f"needs {FEWEST} comparable trials, has {FEWEST - 1}")
    same = importance(ours, UP, trials(ours, lambda p: 0.5), method="ped_anova")
    assert (same.values, same.reason) == ({}, "all 60 comparable trials have the same value")
    fixed = space(FIXED)
    assert importance(fixed, UP, trials(fixed, lambda p: 1), method="ped_anova").reason == (
        "the search space has nothing that is searched"
    )


def test_trials_of_a_space_that_was_narrowed_since_do_not_count() -> None:
    wide, narrow = space(ZED), space(ZED | {"high": 0.5})
    seen = trials(wide, lambda p: p["zed"])
    inside = sum(one.params["zed"] <= 0.5 for one in seen)  # type: ignore[operator]
    assert importance(narrow, UP, seen, method="ped_anova").n_trials == inside
    told = importance(narrow, UP, [one for one in seen if one.params["zed"] > 0.5], method="ped_anova")  # type: ignore[operator]
    assert told.reason is not None
    assert "lie outside the search space as it is now" in told.reason


def test_trials_are_compared_at_the_highest_rung_with_enough_of_them() -> None:
    assert level_to_compare([]) is None
    assert level_to_compare([(0, 0, 1, 0)]) is None
    few = level_to_compare([(0, 0, 1, 20), (0, 1, 3, 7)])
    assert few is not None
    assert (few.resource, few.entries) == (1, 20)
    # Brackets count together where their rungs are at one resource.
    split = level_to_compare([(0, 0, 1, 90), (0, 1, 3, ENOUGH - 10), (1, 0, 3, 10), (0, 2, 9, ENOUGH - 1)])
    assert split is not None
    assert (split.resource, split.places) == (3, ((0, 1, ENOUGH - 10), (1, 0, 10)))
    equal = level_to_compare([(0, 0, 1, 5), (0, 1, 2, 5)])
    assert equal is not None
    assert equal.resource == 2
