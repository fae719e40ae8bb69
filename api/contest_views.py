"""Contests from rows to response models, and their result as CSV and Markdown."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from api.schemas.contests import ContestHead, ContestRead, ContestResult, ContestStudy, MethodResult
from hpo.analysis.contest import Run, contest_state, standings
from hpo.domain.study import STUDY_ENDED, StudyState
from hpo.spec.contest import ContestSpec, Entry
from hpo.storage import contests

Cell = str | float | int | None
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets run when a cell begins with it


def contest_head(row: Row[Any], states: Sequence[str]) -> ContestHead:
    known = [StudyState(state) for state in states]
    ended = sum(state in STUDY_ENDED for state in known)
    return ContestHead.model_validate(
        {
            "id": row.id,
            "name": row.name,
            "state": contest_state(known),
            "complete": f"{ended}/{len(known)}",
            "created_at": row.created_at,
        }
    )


def contest_read(tx: Connection, row: Row[Any]) -> ContestRead:
    spec = ContestSpec.model_validate(row.spec)
    runs = contests.runs(tx, row.id)
    head = contest_head(row, [run.standing for run in runs.values()])
    return ContestRead(
        **dict(head),
        spec=row.spec,
        studies=[
            ContestStudy(
                id=run.id,
                name=run.name,
                method=spec.methods[entry.method].name,
                seed=entry.seed,
                state=StudyState(run.state),
                state_reason=run.state_reason,
                value=None if run.loss is None else spec.study.objective.value(run.loss),
                confirmation=None if run.confirmation is None else run.confirmation["state"],
                test=_test(run),
                epochs=run.spent,
                gpu_hours=run.device_seconds / 3600,
                trials=run.trials,
                split_sha256=run.split_sha256,
            )
            for entry, run in _runs(spec, runs)
        ],
        result=_result(spec, runs, head, params=False),
    )


def contest_result(tx: Connection, row: Row[Any], *, params: bool = False) -> ContestResult:
    """The table so far; with ``params`` each method's best configuration is in it."""
    runs = contests.runs(tx, row.id)
    head = contest_head(row, [run.standing for run in runs.values()])
    return _result(ContestSpec.model_validate(row.spec), runs, head, params=params)


def _test(run: Row[Any]) -> float | None:
    """Accuracy of a study's recommendation on the test part, if it was scored."""
    found = None if run.confirmation is None else run.confirmation["test"]
    return None if found is None else found["acc"]


def _best_params(run: Row[Any]) -> Any:
    found = None if run.confirmation is None else run.confirmation["recommendation"]
    return run.params if found is None else found["params"]


def _runs(spec: ContestSpec, rows: dict[str, Row[Any]]) -> Iterator[tuple[Entry, Row[Any]]]:
    """Each study with what it is in the contest. Found by its name, which stays; labels may be edited.

    One that was deleted is left out.
    """
    return ((entry, rows[entry.name]) for entry in spec.entries if entry.name in rows)


def _result(spec: ContestSpec, rows: dict[str, Row[Any]], head: ContestHead, *, params: bool) -> ContestResult:
    runs = [
        Run(
            method=spec.methods[entry.method].name,
            seed=entry.seed,
            state=StudyState(row.standing),
            loss=row.loss,
            epochs=row.spent,
            device_seconds=row.device_seconds,
            wall_s=row.wall_s,
            trials=row.trials,
            test=_test(row),
            params=_best_params(row),
        )
        for entry, row in _runs(spec, rows)
    ]
    return ContestResult(
        contest=spec.name,
        state=head.state,
        complete=head.complete,
        metric=spec.study.objective.metric,
        direction=spec.study.objective.direction,
        max_epochs=spec.budget.max_epochs,
        max_gpu_hours=spec.budget.max_gpu_hours,
        seeds=list(spec.seeds),
        items=[
            MethodResult(
                method=one.method,
                mean_rank=one.mean_rank,
                value_mean=one.mean,
                value_ci95=one.ci95,
                value_best=one.best,
                best_seed=one.best_seed,
                params=dict(one.params) if params and one.params is not None else None,
                test_mean=one.test,
                epochs_mean=one.epochs_mean,
                epochs_total=one.epochs_total,
                gpu_hours=one.gpu_hours,
                wall_hours=one.wall_hours,
                trials=one.trials,
                finished=one.finished,
                failed=one.failed,
                running=one.running,
            )
            for one in standings(runs, spec.study.objective)
        ],
    )


def columns(result: ContestResult) -> list[str]:
    """Of the table, in order; what no method has is left out, and so are params, which have columns of their own."""
    optional = {"params"} | ({"test_mean"} if all(item.test_mean is None for item in result.items) else set())
    return [name for name in MethodResult.model_fields if name not in optional]


def param_columns(result: ContestResult) -> list[str]:
    """Names of all params that the methods' best configurations have, in the order in which they come."""
    return list(dict.fromkeys(name for item in result.items for name in item.params or {}))


def as_csv(result: ContestResult) -> str:
    """The table with a header, numbers in full; text that a spreadsheet would run as a formula begins with ``'``."""
    names, params = columns(result), param_columns(result)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")  # RFC 4180
    writer.writerow([*names, *(csv_cell(f"params.{name}") for name in params), "metric", "state", "complete"])
    for item in result.items:
        cells: list[Cell] = [getattr(item, name) for name in names]
        cells += [(item.params or {}).get(name) for name in params]
        cells += [result.metric, result.state, result.complete]
        writer.writerow([csv_cell(cell) for cell in cells])
    return out.getvalue()


def csv_cell(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def as_markdown(result: ContestResult) -> str:
    """The table of a paper: mean ± half the 95 % confidence interval, under a line that says what was compared.

    Where the params were asked for, they take the place of what was spent: method, params, what they are worth.
    """
    budget = f"{result.max_epochs} epochs" if result.max_epochs is not None else f"{result.max_gpu_hours:g} GPU hours"
    seeds = f"{len(result.seeds)} seed{'s' * (len(result.seeds) != 1)}"
    head = (
        f"**{_plain(result.contest)}**: {_plain(result.metric)}, {result.direction}; at most {budget} a study, {seeds};"
        f" {result.state}, {result.complete} studies have ended"
    )
    tested = "test_mean" in columns(result)
    if params := param_columns(result):
        worth = "test accuracy" if tested else f"{_plain(result.metric)} (best)"
        lines = [_row(["method", *map(_plain, params), worth]), _row(["---", *["--:"] * (len(params) + 1)])]
        for item in result.items:
            cells = [_plain(item.method), *(_shown((item.params or {}).get(name)) for name in params)]
            lines.append(_row([*cells, _number(item.test_mean if tested else item.value_best)]))
        return "\n".join([head, "", *lines, ""])
    names = ["method", "mean rank", f"{_plain(result.metric)} (mean ± 95 % CI)", "best"]
    names += [*(["test"] if tested else []), "epochs", "GPU hours", "wall hours", "trials", "finished/failed/running"]
    lines = [_row(names), _row(["---", *["--:"] * (len(names) - 1)])]
    for item in result.items:
        spread = "" if item.value_ci95 is None else f" ± {_number(item.value_ci95)}"
        cells = [_plain(item.method), _number(item.mean_rank), _number(item.value_mean) + spread]
        cells += [_number(item.value_best), *([_number(item.test_mean)] if tested else [])]
        cells += [f"{item.epochs_mean:.6g}", f"{item.gpu_hours:.3g}", f"{item.wall_hours:.3g}", str(item.trials)]
        lines.append(_row([*cells, f"{item.finished}/{item.failed}/{item.running}"]))
    return "\n".join([head, "", *lines, ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(value: Cell) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else _plain(str(value))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _plain(text: str) -> str:
    """Text that stays in its cell and is no markup."""
    flat = " ".join(text.split())
    return "".join(f"\\{char}" if char in "\\`*_[]<>|" else char for char in flat)
