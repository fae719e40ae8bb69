"""The trials of an Optuna study, as a warm start takes them."""

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ladder.errors import LocalError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

MOST = 1_000  # trials that a warm start takes from a list
EXAMPLE = "for example --warm-start-optuna sqlite:///old.db#my-study"


def warm_trials(url: str, direction: str) -> list[dict[str, Any]]:
    """The best complete trials of ``URL#study-name``, best first, as ``{"params", "value"}``.

    A path instead of a URL is that of a journal file. The name may be left out where the storage holds a single study.
    Of several objectives the first counts. Raises LocalError if there is no such study, or if it was optimised in
    another ``direction``.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    told, _, name = url.partition("#")
    _refuse_missing_file(told)
    try:
        storage = told if "://" in told else _journal(told)
        names = optuna.get_all_study_names(storage)
        study = optuna.load_study(study_name=_chosen(names, name, told), storage=storage)
        complete = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    # No database, an older schema, no driver, no journal.
    except (SQLAlchemyError, RuntimeError, ImportError, ValueError, LookupError) as error:
        raise LocalError(f"{told} cannot be read: {str(error).splitlines()[0]}", EXAMPLE) from error
    theirs = study.directions[0].name.lower()
    if theirs != direction:
        raise LocalError(
            f"the Optuna study {study.study_name!r} was to {theirs} and this one is to {direction} its first objective",
            "warm start from a study of the same direction",
        )
    sign = -1 if direction == "maximize" else 1
    valued = [(trial.values[0], _plain(trial.params)) for trial in complete if isfinite(trial.values[0])]
    best = sorted(((value, params) for value, params in valued if params), key=lambda pair: sign * pair[0])[:MOST]
    if not best:
        raise LocalError(f"the Optuna study {study.study_name!r} has no complete trial with parameters", EXAMPLE)
    return [{"params": params, "value": value} for value, params in best]


def _refuse_missing_file(storage: str) -> None:
    """Optuna would create the file."""
    file = storage.removeprefix("sqlite:///").partition("?")[0]
    local = "://" not in storage or storage.startswith("sqlite:///")
    if local and not Path(file).is_file():
        raise LocalError(f"{storage} is no Optuna storage that is there", EXAMPLE)


def _journal(path: str) -> "BaseStorage":
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(path))


def _chosen(names: list[str], name: str, storage: str) -> str:
    if name in names or (not name and len(names) == 1):
        return name or names[0]
    if not names:
        raise LocalError(f"{storage} holds no study", EXAMPLE)
    wanted = f"no study {name!r}" if name else f"{len(names)} studies"
    raise LocalError(f"{storage} holds {wanted}: {', '.join(sorted(names)[:10])}", f"name one, {EXAMPLE}")


def _plain(params: dict[str, Any]) -> dict[str, Any]:
    """Without values that a search space here cannot have: a choice of None."""
    return {name: value for name, value in params.items() if isinstance(value, bool | int | float | str)}
