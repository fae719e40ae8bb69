"""Small valid specs and curves for tests."""

from typing import Any

from hpo.domain.history import Params
from hpo.simulate import Epoch
from hpo.spec.study import StudySpec


def a_study(**fields: Any) -> StudySpec:
    """A spec that runs, with the given top-level fields in place of the plain ones."""
    plain: dict[str, Any] = {
        "name": "plain",
        "objectives": [{"metric": "loss", "direction": "minimize"}],
        "search_space": [{"type": "float", "name": "x", "low": 0, "high": 1}],
        "sampler": {"type": "random", "seed": 1},
        "scheduler": {"type": "asha", "max_resource": 9},
        "trainer": {"name": "synthetic"},
    }
    return StudySpec.model_validate(plain | fields)


def curve(number: int, params: Params, step: int) -> Epoch:
    """Best at x = 0.7, better with every step; two seconds an epoch."""
    return Epoch((float(params["x"]) - 0.7) ** 2 + 1 / step, seconds=2.0)
