"""A study judged by other measures than accuracy, on the whole stack: API, workers, and networks that really learn."""

from math import isclose

import pytest
from sklearn.datasets import load_digits

from ladder.client import Client
from tests.audit import audit
from tests.conftest import StackFactory

EPOCHS = 40  # far more than a network needs whose patience ends with the first epoch that is no better
SPEC = {
    "name": "measured",
    "objectives": [{"metric": "macro_f1", "direction": "maximize"}],
    "constraints": [{"metric": "params_m", "op": "<=", "value": 0.02}],
    "search_space": [{"name": "dense_units", "type": "categorical", "choices": [8, 128]}],
    "sampler": {"type": "grid", "seed": 1},
    "scheduler": {"type": "fifo", "max_resource": EPOCHS},
    "trainer": {"name": "image-cnn", "config": {"dataset": "digits", "lr": 0.01, "patience": 1}},
    "budget": {"max_trials": 2},
}


def test_a_study_of_f1_under_a_bound_of_size_ends_its_trials_when_they_learn_no_more(stack: StackFactory) -> None:
    running = stack(workers=1)
    with Client(running.url, running.token) as client:
        client.studies.create(SPEC).wait(timeout=120)
        study, trials = client.studies.read("measured"), client.studies.trials("measured")
        (best,) = client.studies.best("measured")
        matrix = client.studies.confusion("measured", best.number)
        curve = client.studies.metrics("measured", best.number)
    assert audit(running.database_url, checkpoint_root=running.checkpoint_root) == []
    assert [(trial.state, trial.last_step < EPOCHS) for trial in trials] == [("complete", True)] * 2
    feasible = {trial.params["dense_units"]: trial.feasible for trial in trials}
    assert feasible == {8: True, 128: False}
    assert best.params == {"dense_units": 8}
    last = curve[-1].metrics
    assert best.value == last["macro_f1"]
    assert last["params_m"] is not None
    assert last["params_m"] <= 0.02
    assert study.class_names == [str(label) for label in load_digits().target_names]
    assert study.split_sha256 is not None
    assert (matrix.step, len(matrix.matrix)) == (best.step, 10)
    shown = (matrix.accuracy, matrix.balanced_accuracy, matrix.macro.precision, matrix.macro.recall, matrix.macro.f1)
    names = ("val_acc", "balanced_acc", "macro_precision", "macro_recall", "macro_f1")
    assert shown == pytest.approx([last[name] for name in names], abs=1e-6)
    assert all(isclose(one.support, sum(row)) for one, row in zip(matrix.per_class, matrix.matrix, strict=True))
