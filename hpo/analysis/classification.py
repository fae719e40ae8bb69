"""What a confusion matrix says: accuracy, and precision, recall and F1 of each class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class ClassScores:
    """``support`` counts the images of the class."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Classification:
    """``balanced_accuracy`` is the mean recall of the classes that occur; ``per_class`` is in the matrix's order.

    The ``macro_*`` are means over the classes that occur or are predicted, where 0 / 0 counts as 0: what scikit-learn
    gives on the predictions themselves.
    """

    accuracy: float
    balanced_accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    per_class: tuple[ClassScores, ...]


def classification(confusion: Sequence[Sequence[int]]) -> Classification:
    """The scores of counts [K][K] by [true class][predicted class]. Raises ValueError if nothing was counted."""
    # Here and not above: it takes a second to import, and only this needs it.
    from sklearn.metrics import precision_recall_fscore_support

    counts = np.asarray(confusion, dtype=np.int64)
    true, predicted = np.nonzero(counts)
    if not len(true):
        raise ValueError("a confusion matrix of no predictions has no scores")
    precision, recall, f1, support = precision_recall_fscore_support(
        true, predicted, labels=range(len(counts)), sample_weight=counts[true, predicted], zero_division=0
    )
    occurs = support > 0
    known = occurs | (counts.sum(axis=0) > 0)
    return Classification(
        accuracy=float(counts.trace() / counts.sum()),
        balanced_accuracy=float(recall[occurs].mean()),
        macro_precision=float(precision[known].mean()),
        macro_recall=float(recall[known].mean()),
        macro_f1=float(f1[known].mean()),
        per_class=tuple(
            ClassScores(float(one), float(two), float(three), int(four))
            for one, two, three, four in zip(precision, recall, f1, support, strict=True)
        ),
    )
