"""A study written into an Optuna storage by Optuna itself: the API's journal, copied."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ladder.optuna_trials import open_storage, told_plainly

if TYPE_CHECKING:
    from ladder.client import Client

EXAMPLE = "for example ladder export optuna my-study sqlite:///new.db --name another"


@dataclass(frozen=True, slots=True)
class Written:
    """``best_value`` is Optuna's: the best of the complete trials; None with several objectives or without one."""

    study: str
    trials: int
    best_value: float | None


def write(client: "Client", study: str, url: str, name: str | None) -> Written:
    """Copy a study into the storage at a URL or in a journal file, which is made if it is not there.

    Raises LocalError if it cannot be written or holds a study of that name already.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would print a line of its own
    with tempfile.TemporaryDirectory(prefix="ladder-") as scratch:
        journal = client.studies.export(study, Path(scratch) / "study.optuna", format="optuna")
        source = open_storage(str(journal))
        own = optuna.get_all_study_names(source)[0]
        with told_plainly(url, EXAMPLE):
            target = open_storage(url)
            optuna.copy_study(from_study_name=own, from_storage=source, to_storage=target, to_study_name=name or own)
            copied = optuna.load_study(study_name=name or own, storage=target)
            trials = copied.get_trials(deepcopy=False)
        complete = any(trial.state is optuna.trial.TrialState.COMPLETE for trial in trials)
        best = copied.best_value if complete and len(copied.directions) == 1 else None
    return Written(copied.study_name, len(trials), best)
