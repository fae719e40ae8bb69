"""Where a trial is taken up: the newest checkpoint that is what was reported, and the order that the child gets."""

from collections.abc import Iterator
from pathlib import Path

from api.schemas.leases import Assignment, CheckpointRef
from workers.limits import Place
from workers.protocol import Train


def candidates(trial: Assignment, place: Place) -> Iterator[tuple[CheckpointRef, Path | None]]:
    """The offered checkpoints below the target, newest first, each with its file, or None if its bytes do not match."""
    for ref in trial.checkpoints:
        if ref.step < trial.target_step:
            path = place.store.path(trial.study_id, ref.trial, ref.lease, ref.step)
            yield ref, path if place.store.verify(path, ref.sha256) else None


def order(
    trial: Assignment, place: Place, directory: Path, *, run: int, resumed: CheckpointRef | None, resume: Path | None
) -> Train:
    """What the child is told of ``trial``: to go on from ``resumed``, whose file is ``resume``, or from nothing.

    It writes checkpoints to ``directory``.
    """
    return Train(
        run=run,
        trainer=trial.trainer,
        config=trial.config,
        seed=trial.seed,
        from_step=0 if resumed is None else resumed.step,
        target_step=trial.target_step,
        max_resource=trial.max_resource,
        resume=resume,
        inherits=resumed is not None and resumed.trial != trial.number,
        data_root=place.data_root,
        threads=place.threads,
        # The rungs that an earlier attempt has reported are decided, and what was decided then may be out of date.
        rungs=tuple(rung for rung in trial.rungs if rung > trial.last_step),
        checkpoint_every=trial.checkpoint_every,
        directory=directory,
        cache_root=place.cache_root,
        split_sha256=trial.split_sha256,
        final=trial.final,
    )
