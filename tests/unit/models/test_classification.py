import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, precision_recall_fscore_support

from models.classification import classification


@pytest.mark.parametrize("classes", [2, 11, 100])
def test_the_scores_are_those_of_the_predictions_themselves(classes: int) -> None:
    rng = np.random.default_rng(classes)
    true = np.concatenate([np.arange(classes), rng.integers(classes, size=2000)])
    predicted = np.where(rng.random(len(true)) < 0.5, true, rng.integers(classes, size=len(true)))
    matrix = np.zeros((classes, classes), dtype=int)
    np.add.at(matrix, (true, predicted), 1)
    found = classification(matrix.tolist())
    assert found.accuracy == pytest.approx(accuracy_score(true, predicted), abs=1e-6)
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(true, predicted), abs=1e-6)
    macro = precision_recall_fscore_support(true, predicted, average="macro", zero_division=0)[:3]
    assert (found.macro_precision, found.macro_recall, found.macro_f1) == pytest.approx(macro, abs=1e-6)
    wanted = zip(*precision_recall_fscore_support(true, predicted, zero_division=0), strict=True)
    for one, row in zip(found.per_class, wanted, strict=True):
        assert (one.precision, one.recall, one.f1, one.support) == pytest.approx(row, abs=1e-6)


def test_a_class_that_is_never_right_counts_and_one_that_is_nowhere_does_not() -> None:
    # 0 is right twice of three times, 1 is always taken for 0, 2 is nowhere.
    found = classification([[2, 0, 0], [1, 0, 0], [0, 0, 0]])
    assert (found.accuracy, found.balanced_accuracy) == (2 / 3, 0.5)
    assert (found.macro_precision, found.macro_recall, found.macro_f1) == pytest.approx((1 / 3, 0.5, 0.4))
    assert [one.support for one in found.per_class] == [2, 1, 0]


def test_what_is_predicted_and_does_not_occur_lowers_the_macro_scores_but_not_the_balanced_accuracy() -> None:
    found = classification([[1, 1], [0, 0]])
    assert found.balanced_accuracy == 0.5
    assert (found.macro_precision, found.macro_recall) == (0.5, 0.25)


def test_a_matrix_of_no_predictions_has_no_scores() -> None:
    with pytest.raises(ValueError, match="no predictions"):
        classification([[0, 0], [0, 0]])
