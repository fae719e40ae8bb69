"""Trials of real Optuna storages, as a warm start takes them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import optuna
import pytest
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from ladder import optuna_trials
from ladder.errors import LocalError
from ladder.optuna_trials import warm_trials

optuna.logging.set_verbosity(optuna.logging.WARNING)
Direction = Literal["minimize", "maximize"]
RANGES = {
    "lr": optuna.distributions.FloatDistribution(1e-4, 1.0, log=True),
    "width": optuna.distributions.IntDistribution(1, 64),
    "kind": optuna.distributions.CategoricalDistribution(["sgd", True, None]),
}


def fill(storage: BaseStorage, directions: Sequence[Direction], *values: list[float]) -> None:
    study = optuna.create_study(study_name="old", storage=storage, directions=directions)
    for width, found in enumerate(values, start=1):
        params = {"lr": 0.5, "width": width, "kind": None if width == 1 else "sgd"}
        study.add_trial(create_trial(params=params, distributions=RANGES, values=found))
    study.add_trial(create_trial(params=params, distributions=RANGES, state=TrialState.FAIL))


def sqlite(path: Path) -> tuple[str, BaseStorage]:
    url = f"sqlite:///{path / 'old.db'}"
    return url, RDBStorage(url)


def journal(path: Path) -> tuple[str, BaseStorage]:
    file = str(path / "old.log")
    return file, JournalStorage(JournalFileBackend(file))


@pytest.mark.parametrize("kind", [sqlite, journal])
@pytest.mark.parametrize(("direction", "order"), [("minimize", [1, 3, 2]), ("maximize", [2, 3, 1])])
def test_complete_trials_come_best_first(
    kind: Callable[[Path], tuple[str, BaseStorage]], direction: Direction, order: list[int], tmp_path: Path
) -> None:
    url, storage = kind(tmp_path)
    fill(storage, [direction], [0.1], [0.9], [0.5])
    found = warm_trials(f"{url}#old", direction)
    assert found == warm_trials(url, direction)
    assert [trial["params"]["width"] for trial in found] == order
    assert {trial["params"]["width"]: trial["value"] for trial in found} == {1: 0.1, 2: 0.9, 3: 0.5}
    assert all(isinstance(trial["params"]["width"], int) for trial in found)
    assert all(("kind" in trial["params"]) == (trial["params"]["width"] != 1) for trial in found)  # None is no choice
    with pytest.raises(LocalError, match=f"was to {direction}"):
        warm_trials(url, "maximize" if direction == "minimize" else "minimize")


def test_no_more_than_a_warm_start_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna_trials, "MOST", 2)
    url, storage = journal(tmp_path)
    fill(storage, ["minimize"], [0.3], [0.1], [0.2], [float("inf")])
    assert [trial["value"] for trial in warm_trials(url, "minimize")] == [0.1, 0.2]


def test_of_several_objectives_the_first_counts(tmp_path: Path) -> None:
    url, storage = journal(tmp_path)
    fill(storage, ["maximize", "minimize"], [0.3, 9.0], [0.7, 1.0])
    assert [trial["value"] for trial in warm_trials(url, "maximize")] == [0.7, 0.3]
