"""What a trainer of your own calls: ``import ladder``, then ``ladder.epochs()``, ``ladder.report(...)`` and so on.

All of it works outside a trial too, so that a training script can be run by hand. Needs no torch.
"""

import os
from collections.abc import Iterator
from typing import Any

from models.session import Trial, checked, current


def trial(*, by_hand: int = 10) -> Trial:
    """Seed, max_resource, data_root and threads of the trial that this process trains.

    By hand: seed 0, ``by_hand`` steps, LADDER_DATA_ROOT, all cores.
    """
    session = current()
    if session is not None:
        return session.trial
    from hpo.settings import Settings

    root = Settings().data_root.expanduser().absolute()
    return Trial(seed=0, max_resource=by_hand, data_root=root, threads=os.cpu_count() or 1)


def epochs(*, by_hand: int = 10) -> Iterator[int]:
    """The steps that are left to train, each to be reported before the next: from 1, or from where the trial resumes.

    Each begins with the generators of random, numpy and torch seeded for this trial and step, so that an epoch draws
    the same numbers whether or not the trial was paused before it. By hand: 1 to ``by_hand``, nothing is seeded.
    """
    session = current()
    return iter(range(1, by_hand + 1)) if session is None else session.epochs()


def report(step: int, /, **metrics: Any) -> None:
    """Say how a step has ended: numbers, also not finite ones, or tensors of one element; by hand they are printed.

    Returns once the step is recorded and the next one is wanted. Where the trial is paused, pruned or complete it does
    not return but raises an exception past ``except Exception``, which ends the trainer; let it pass.

    Raises ValueError if another step is due, TypeError for what is no number.
    """
    session = current()
    if session is not None:
        session.report(step, metrics)
        return
    number, values = checked(step, metrics)
    told = "  ".join(f"{name} {value:.6g}" for name, value in values.items())
    print(f"step {number}  {told}")  # noqa: T201


def should_stop() -> bool:
    """Whether no step is wanted after those that were reported. By hand False."""
    session = current()
    return session is not None and session.should_stop()


def checkpoint(state: Any) -> None:
    """Keep what the trainer needs to go on after the step that it will report next; call it before ``report``.

    ``state`` is a tensor, a numpy array, a number, text or None, or a dict, list or tuple of these: ``state_dict()`` of
    modules and optimizers fit. It is copied. By hand nothing happens. Raises TypeError naming the path in the state
    that cannot be kept.
    """
    session = current()
    if session is not None:
        session.checkpoint(state)


def restore() -> Any:
    """The state to go on from, tensors on the CPU; None in a new trial, and by hand."""
    session = current()
    return None if session is None else session.restore()
