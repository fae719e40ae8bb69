"""Trials in a list that notebooks show as a table and pandas takes as a frame."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from api.schemas.trials import TrialRead
from ladder.errors import LocalError

if TYPE_CHECKING:
    from pandas import DataFrame

SHOWN = 50  # rows of a table in a notebook
_OWN = ("number", "state", "value", "rung", "last_step", "attempt", "worker", "created_at", "finished_at")


class TrialList(list[TrialRead]):
    """Trials as ``client.studies.trials`` returns them."""

    def to_pandas(self) -> "DataFrame":
        """A row for each trial, indexed by its number; params in columns ``params.NAME``.

        Several objectives stand in ``values.0``, ``values.1`` and so on. Raises LocalError without pandas.
        """
        if find_spec("pandas") is None:
            raise LocalError("to_pandas needs pandas on this machine", "pip install 'ladder-hpo[pandas]'")
        from pandas import DataFrame

        columns = [*_OWN, *_indexed(self), *(f"params.{name}" for name in _params(self))]
        return DataFrame([_record(trial) for trial in self], columns=columns).set_index("number")

    def _repr_html_(self) -> str:
        names = _params(self)
        rows = [
            (t.number, t.state, cell(t.value) or t.non_finite, f"{t.last_step}/{t.target_step}", t.rung,
             *(cell(t.params.get(name)) for name in names))
            for t in self[:SHOWN]
        ]  # fmt: skip
        more = f"<p>{len(self) - SHOWN} more</p>" if len(self) > SHOWN else ""
        return html_table(("trial", "state", "value", "epochs", "rung", *names), rows) + more


def html_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with all text escaped; an empty cell is a dash."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{'–' if cell is None else escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def cell(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def _params(trials: Iterable[TrialRead]) -> list[str]:
    return list(dict.fromkeys(name for trial in trials for name in trial.params))


def _indexed(trials: Iterable[TrialRead]) -> list[str]:
    return [f"values.{index}" for index in range(max((len(trial.values or ()) for trial in trials), default=0))]


def _record(trial: TrialRead) -> dict[str, Any]:
    several = {f"values.{index}": value for index, value in enumerate(trial.values or ())}
    return {name: getattr(trial, name) for name in _OWN} | several | {f"params.{n}": v for n, v in trial.params.items()}
