"""What a confusion matrix says: accuracy, and precision, recall and F1 of each class. Torch-free."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


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


def classification(confusion: npt.ArrayLike) -> Classification:
    """The scores of counts [K][K] by [true class][predicted class]. Raises ValueError if nothing was counted."""
    # Not by scikit-learn: it takes 3 ms, most of them for checking its input, and a small epoch takes 10.
    counts = np.asarray(confusion, dtype=np.int64)
    hits, support, predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    images = int(support.sum())
    if not images:
        raise ValueError("a confusion matrix of no predictions has no scores")
    precision, recall = _share(hits, predicted), _share(hits, support)
    f1 = _share(2 * hits, support + predicted)
    occurs = support > 0
    known = occurs | (predicted > 0)
    return Classification(
        accuracy=int(hits.sum()) / images,
        balanced_accuracy=float(recall[occurs].mean()),
        macro_precision=float(precision[known].mean()),
        macro_recall=float(recall[known].mean()),
        macro_f1=float(f1[known].mean()),
        per_class=tuple(
            ClassScores(*one)
            for one in zip(precision.tolist(), recall.tolist(), f1.tolist(), support.tolist(), strict=True)
        ),
    )


def _share(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)
