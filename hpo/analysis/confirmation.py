"""What a confirmation has found: from the replicates of each winner to means, intervals and the gap of optimism."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from scipy.special import ndtri

from hpo.analysis.contest import CONFIDENCE, half_width
from hpo.domain.history import Params
from hpo.domain.trial import TRIAL_ENDED, TrialState
from hpo.spec.search import Objective

MOST_IMAGES = 2**53  # up to here a float, as which they are reported, counts


@dataclass(frozen=True, slots=True)
class Winner:
    """A configuration as the search left it: its best trial and that one's value."""

    params: Params
    trial: int
    value: float


@dataclass(frozen=True, slots=True)
class Replicate:
    """One training anew. ``values`` is its value, or those of its folds; empty while it has none."""

    number: int
    params: Params
    state: TrialState
    values: tuple[float, ...]
    feasible: bool = True


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A winner with its replicates, all values in the objective's units.

    ``ci95`` is half the width of the 95 % confidence interval of the mean (Student's t), None below two values; over
    folds, which share training images, it is an approximation (Bengio & Grandvalet 2004). ``gap`` is the search's value
    minus the mean: with an objective that is maximised, what the search promised too much. ``failed`` counts the
    replicates that ended without a value or broke an outcome constraint, ``pending`` those that have not ended.
    """

    params: Params
    trial: int
    search_value: float
    values: tuple[float, ...]
    mean: float | None
    ci95: float | None
    gap: float | None
    complete: int
    failed: int
    pending: int

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def trusted(self) -> bool:
        """Whether at least half of its replicates were completed and kept every constraint."""
        return self.complete > 0 and self.complete >= self.failed + self.pending


def confirmed(winners: Sequence[Winner], replicates: Sequence[Replicate]) -> list[Confirmed]:
    """Each winner with what its replicates have found so far, in the order of the winners."""
    return [_confirmed(winner, [one for one in replicates if same(one.params, winner.params)]) for winner in winners]


def same(one: Params, other: Params) -> bool:
    """Whether two configurations are one."""
    # To Python 1 and True are equal, as choices of a parameter they are not.
    return one.keys() == other.keys() and all(
        value == other[name] and isinstance(value, bool) == isinstance(other[name], bool) for name, value in one.items()
    )


def _confirmed(winner: Winner, replicates: Sequence[Replicate]) -> Confirmed:
    ended = [one for one in replicates if one.state in TRIAL_ENDED]
    complete = [one for one in ended if one.state is TrialState.COMPLETE and one.values and one.feasible]
    values = tuple(value for one in complete for value in one.values)
    mean = fmean(values) if values else None
    return Confirmed(
        params=winner.params,
        trial=winner.trial,
        search_value=winner.value,
        values=values,
        mean=mean,
        ci95=half_width(values),
        gap=None if mean is None else winner.value - mean,
        complete=len(complete),
        failed=len(ended) - len(complete),
        pending=len(replicates) - len(ended),
    )


def recommended(candidates: Sequence[Confirmed], objective: Objective) -> int | None:
    """Position of the candidate with the best mean; None if none is trusted.

    Of equal means the one whose interval ends better at its worse end: the one that is known better.
    """
    ranked = [
        (objective.loss(one.mean), math.inf if one.ci95 is None else one.ci95, position)
        for position, one in enumerate(candidates)
        if one.trusted and one.mean is not None
    ]
    return min(ranked)[2] if ranked else None


def wilson(accuracy: float, images: float) -> tuple[float, float] | None:
    """The 95 % score interval of an accuracy on so many images (Wilson 1927).

    None where they are none: what is reported is taken as it comes, and out of range it has no interval.
    """
    if not (0 <= accuracy <= 1 and 1 <= images <= MOST_IMAGES):
        return None
    images = int(images)
    # As scipy.stats has it, whose import would take a second of the transaction that this is part of.
    z = float(ndtri((1 + CONFIDENCE) / 2))
    share = round(accuracy * images) / images
    centre = (share + z * z / (2 * images)) / (1 + z * z / images)
    half = z / (1 + z * z / images) * math.sqrt(share * (1 - share) / images + z * z / (4 * images * images))
    return max(0.0, centre - half), min(1.0, centre + half)
