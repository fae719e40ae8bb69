"""The content of an export: its lines a page at a time, and as what columns they are written where they need some."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal
from uuid import UUID

from api.schemas.exports import DecisionLine, MetricLine, TrialLine
from api.views import finite, trial_read
from hpo.lifecycle.definitions import Definition
from hpo.spec.space import CategoricalParam, FixedParam, IntParam, Param
from hpo.storage import exports
from hpo.storage.db import Db

What = Literal["trials", "metrics", "decisions"]
Kind = Literal["int", "float", "bool", "text", "time"]
Line = TrialLine | MetricLine | DecisionLine


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    kind: Kind
    of: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Export:
    """A study to be written out. Every page is a transaction of its own."""

    db: Db
    study: UUID
    definition: Definition
    what: What

    def pages(self) -> Iterator[Sequence[Line]]:
        if self.what == "trials":
            return self._trials()
        return self._metrics() if self.what == "metrics" else self._decisions()

    def columns(self) -> list[Column]:
        """Those of every line: all metrics that are reported by now have one, what is reported first later has none."""
        if self.what == "decisions":
            return _plain(DecisionLine, skip=())
        if self.what == "metrics":
            return [*_plain(MetricLine, skip=("metrics", "non_finite_metrics")), *self._metric_columns()]
        objectives = self.definition.spec.objectives
        several = [
            Column(f"values.{one.metric}", "float", _nth("values", index)) for index, one in enumerate(objectives)
        ]
        return [
            *_plain(TrialLine, skip=("metrics", "non_finite_metrics", "params", "values", "error")),
            Column("error_type", "text", lambda line: (line.error or {}).get("type")),
            Column("error_message", "text", lambda line: (line.error or {}).get("message")),
            *(several if len(objectives) > 1 else ()),
            *(
                Column(f"params.{p.name}", _kind(p), _entry("params", p.name))
                for p in self.definition.spec.search_space
            ),
            *self._metric_columns(),
        ]

    def _trials(self) -> Iterator[Sequence[TrialLine]]:
        after = -1
        while True:
            rows = self.db.read(partial(exports.trials, study=self.study, after=after))
            yield [trial_line(row, row.metrics or {}, self.definition) for row in rows]
            if len(rows) < exports.PAGE:
                return
            after = rows[-1].number

    def _metrics(self) -> Iterator[Sequence[MetricLine]]:
        after = (0, 0)
        while True:
            rows = self.db.read(partial(exports.reports, study=self.study, after=after))
            yield [
                MetricLine.model_construct(
                    number=row.number,
                    step=row.step,
                    attempt=row.attempt,
                    seconds=row.seconds,
                    at=row.at,
                    **_metrics(row.metrics),
                )
                for row in rows
                if row.step is not None
            ]
            if len(rows) < exports.PAGE:
                return
            after = exports.past(rows[-1])

    def _decisions(self) -> Iterator[Sequence[DecisionLine]]:
        after, objective = (-1, -1, -1), self.definition.spec.objective
        while True:
            rows = self.db.read(partial(exports.decisions, study=self.study, after=after))
            yield [
                DecisionLine.model_construct(
                    **{name: getattr(row, name) for name in DecisionLine.model_fields if name != "value"},
                    value=None if row.loss is None else objective.value(row.loss),
                )
                for row in rows
            ]
            if len(rows) < exports.PAGE:
                return
            after = (rows[-1].bracket, rows[-1].rung, rows[-1].seq)

    def _metric_columns(self) -> list[Column]:
        names = self._names_of_trials() if self.what == "trials" else self._names_of_reports()
        return [Column(f"metrics.{name}", "float", _number(name)) for name in sorted(names)]

    def _names_of_trials(self) -> set[str]:
        names: set[str] = set()
        after = -1
        while True:
            found = self.db.read(partial(exports.names_of_trials, study=self.study, after=after))
            names.update(found.names or ())
            if found.rows < exports.PAGE:
                return names
            after = found.number

    def _names_of_reports(self) -> set[str]:
        names: set[str] = set()
        after = (0, 0)
        while True:
            found = self.db.read(partial(exports.names_of_reports, study=self.study, after=after))
            names.update(found.names or ())
            if found.rows < exports.PAGE:
                return names
            after = exports.past(found)


def trial_line(row: Any, newest: dict[str, Any], definition: Definition) -> TrialLine:
    """A trial with the stored metrics of its newest step."""
    return TrialLine.model_construct(**trial_read(row, definition).__dict__, **_metrics(newest))


def _metrics(stored: dict[str, Any]) -> dict[str, Any]:
    return {
        "metrics": finite(stored),
        "non_finite_metrics": {name: value for name, value in stored.items() if isinstance(value, str)},
    }


def _number(name: str) -> Callable[[Any], float | None]:
    """A metric as a number, also where it is not finite: columns can hold what JSON cannot."""

    def of(line: TrialLine | MetricLine) -> float | None:
        word = line.non_finite_metrics.get(name)
        return float(word) if word is not None else line.metrics.get(name)

    return of


def _entry(of: str, name: str) -> Callable[[Any], Any]:
    return lambda line: getattr(line, of).get(name)


def _nth(of: str, index: int) -> Callable[[Any], Any]:
    return lambda line: None if getattr(line, of) is None else getattr(line, of)[index]


def _kind(param: Param) -> Kind:
    """Of a column that every value of the parameter fits into."""
    if isinstance(param, CategoricalParam | FixedParam):
        choices = param.choices if isinstance(param, CategoricalParam) else (param.value,)
        types = {type(choice) for choice in choices}
        if types == {bool}:
            return "bool"
        if types == {int}:
            return "int" if all(abs(int(choice)) < 2**63 for choice in choices) else "text"
        return "float" if types <= {int, float} else "text"
    return "int" if isinstance(param, IntParam) else "float"


_KINDS: dict[Any, Kind] = {int: "int", float: "float", bool: "bool", datetime: "time"}


def _plain(model: type[Line], *, skip: Sequence[str]) -> list[Column]:
    """A column for each field that holds one value."""
    return [
        Column(name, _kind_of(field.annotation), _attribute(name))
        for name, field in model.model_fields.items()
        if name not in skip
    ]


def _attribute(name: str) -> Callable[[Any], Any]:
    return lambda line: getattr(line, name)


def _kind_of(annotation: Any) -> Kind:
    args = [one for one in getattr(annotation, "__args__", ()) if one is not type(None)]
    return _KINDS.get(annotation) or (_KINDS.get(args[0]) if len(args) == 1 else None) or "text"
