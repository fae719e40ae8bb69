"""Optuna's storages opened, and the trials of a study as a warm start takes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ladder.errors import LocalError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study

MOST = 1_000  # trials that a warm start takes from a list
EXAMPLE = "for example --warm-start-optuna sqlite:///old.db#my-study"


def warm_trials(url: str, direction: str) -> list[dict[str, Any]]:
    """The best complete trials of ``URL#study-name``, best first, as ``{"params", "value"}``.

    A path instead of a URL is that of a journal file. The name may be left out where the storage holds a single study.
    Of several objectives the first counts. Raises LocalError if there is no such study, or if it was optimised in
    another ``direction``.
    """
    told, _, name = url.partition("#")
    study = load(told, name, EXAMPLE)
    complete = [one for one in study.trials if one.state.name == "COMPLETE"]
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


def load(url: str, name: str, example: str) -> "Study":
    """A study of the storage at a URL or in a journal file, without its trials being read again by each look.

    Raises LocalError if it cannot be read, or holds no such study; without a name, if it holds several.
    """
    import optuna

    _refuse_missing_file(url, example)
    with told_plainly(url, example):
        # The cached storage of RDB keeps what was read; of a journal all is in memory anyway.
        storage = open_storage(url)
        return optuna.load_study(
            study_name=_chosen(optuna.get_all_study_names(storage), name, url, example), storage=storage
        )


@contextmanager
def told_plainly(url: str, example: str) -> Iterator[None]:
    """Turns what Optuna raises of a storage into a LocalError."""
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    # A name that is taken, no database, an older schema, no driver, no journal.
    except (OptunaError, SQLAlchemyError, RuntimeError, ImportError, ValueError, LookupError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LocalError(f"{url} cannot be read or written: {reason}", example) from error


def open_storage(url: str) -> "BaseStorage":
    """The storage at a URL; a path is that of a journal file. Optuna makes what is not there."""
    from optuna.storages import JournalStorage, get_storage
    from optuna.storages.journal import JournalFileBackend

    return get_storage(url) if "://" in url else JournalStorage(JournalFileBackend(url))


def _refuse_missing_file(storage: str, example: str) -> None:
    """Optuna would create the file."""
    file = storage.removeprefix("sqlite:///").partition("?")[0]
    local = "://" not in storage or storage.startswith("sqlite:///")
    if local and not Path(file).is_file():
        raise LocalError(f"{storage} is no Optuna storage that is there", example)


def _chosen(names: list[str], name: str, storage: str, example: str) -> str:
    if name in names or (not name and len(names) == 1):
        return name or names[0]
    if not names:
        raise LocalError(f"{storage} holds no study", example)
    wanted = f"no study {name!r}" if name else f"{len(names)} studies"
    raise LocalError(f"{storage} holds {wanted}: {', '.join(sorted(names)[:10])}", f"name one, {example}")


def _plain(params: dict[str, Any]) -> dict[str, Any]:
    """Without values that a search space here cannot have: a choice of None."""
    return {name: value for name, value in params.items() if isinstance(value, bool | int | float | str)}
