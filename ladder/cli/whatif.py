"""``ladder whatif``: what other schedulers would have spent and found on a study's recorded curves."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from ladder.cli.files import read_spec
from ladder.cli.options import AsJson, StudyName
from ladder.cli.output import advancing, emit, number, say, table

if TYPE_CHECKING:
    from api.schemas.records import CurveRead
    from api.schemas.studies import StudyRead
    from hpo.spec.search import Objective
    from hpo.spec.study import StudySpec
    from hpo.whatif import Counterfactual, Curve, Found
    from ladder.client import Client

ORDER = "order of the options"


class InOrder(TyperCommand):
    """Keeps the order of options that belong to the one before them: a parser gives each option's values apart."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[ORDER] = [param.name for param in self.make_parser(ctx).parse_args(args=list(args))[2]]
        return super().parse_args(ctx, args)


@dataclass(frozen=True)
class Named:
    """A scheduler as the user gave it."""

    label: str
    scheduler: dict[str, Any]
    pruners: Sequence[Any]


@dataclass(frozen=True)
class Answered:
    label: str
    spec: "StudySpec"
    found: "Counterfactual"


def whatif(
    context: typer.Context,
    study: StudyName,
    scheduler: Annotated[
        list[str] | None,
        typer.Option("--scheduler", metavar="TYPE", help="Such as median or asha; may be repeated."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A field of the --scheduler before it, such as grace=3."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="YAML: a name for each scheduler, and its fields.", show_default=False)
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="As many as trained on average, unless given.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run other schedulers over the recorded curves of a study: epochs spent, best found, and what is missing."""
    from ladder.cli.extras import need
    from ladder.client import Client

    wanted = [*_given(context.meta[ORDER], scheduler or (), set_ or ()), *(() if file is None else _listed(file))]
    if not wanted:
        raise typer.BadParameter("name at least one --scheduler, or a --file of them")
    need("whatif")
    with Client() as client:
        info = client.studies.read(study)
        record = _record(client, info)
    workers = workers or _average_workers(info, record)
    answers = _answers(info, record, wanted, workers)
    if as_json:
        return emit(_told(info, record, answers, workers))
    _show(info, record, answers, workers)


def _given(order: Iterable[str], schedulers: Sequence[str], sets: Sequence[str]) -> list[Named]:
    """Each ``--scheduler`` with the ``--set`` after it."""
    from ladder.specfile import override

    types, assignments = iter(schedulers), iter(sets)
    found: list[Named] = []
    for option in order:
        if option == "scheduler":
            found.append(Named(kind := next(types), {"type": kind}, []))
        elif option == "set_":
            if not found:
                raise typer.BadParameter("--set belongs to the --scheduler before it")
            assignment, last = next(assignments), found[-1]
            plain = assignment.removeprefix("scheduler.")
            data: dict[str, Any] = {"scheduler": last.scheduler, "pruners": last.pruners}
            override(data, plain if plain.startswith("pruners") else f"scheduler.{plain}")
            found[-1] = Named(f"{last.label} {plain}", last.scheduler, data["pruners"])
    return found


def _listed(file: Path) -> list[Named]:
    """The schedulers of a file; ``pruners`` may stand among the fields of each. Raises LocalError."""
    from ladder.errors import LocalError

    found = []
    for label, fields in read_spec(file).data.items():
        if not isinstance(fields, dict):
            example = "for example `wide: {type: asha, reduction_factor: 4}`"
            raise LocalError(f"{file}: {label}: want a mapping of a scheduler's fields, got {fields!r}", example)
        scheduler = {name: value for name, value in fields.items() if name != "pruners"}
        found.append(Named(str(label), scheduler, fields.get("pruners", [])))
    return found


def _record(client: "Client", info: "StudyRead") -> "list[Curve]":
    with advancing("reading curves", total=sum(info.counts.model_dump().values())) as advance:
        record = []
        for curve in client.studies.curves(str(info.id)):
            record.append(_curve(curve))
            advance()
    return record


def _curve(read: "CurveRead") -> "Curve":
    from hpo.whatif import Curve

    losses = [math.nan if loss is None else loss for loss in read.losses]
    violations = read.violations or ()
    return Curve(
        read.number, read.params, read.steps, losses, read.seconds, violations=violations, failed=read.state == "failed"
    )


def _average_workers(info: "StudyRead", record: "Sequence[Curve]") -> int:
    """Device seconds over the study's duration: how many trained at once on average, at least one."""
    busy_s = sum(seconds for curve in record for seconds in curve.seconds if seconds is not None)
    lasted_s = ((info.finished_at or datetime.now(UTC)) - info.created_at).total_seconds()
    return max(1, round(busy_s / lasted_s)) if lasted_s > 0 else 1


def _answers(info: "StudyRead", record: "Sequence[Curve]", wanted: Sequence[Named], workers: int) -> list[Answered]:
    """The study's own scheduler first. Raises LocalError for a study, BadParameter for a scheduler that cannot be."""
    from hpo.domain.errors import InvalidSpec
    from hpo.spec.study import StudySpec
    from hpo.whatif import variant, whatif
    from ladder.errors import LocalError

    own = StudySpec.model_validate(info.model_dump(include=set(StudySpec.model_fields)))
    specs = [(f"{own.scheduler.type} (its own)", own)]
    for one in wanted:
        try:
            specs.append((one.label, variant(own, one.scheduler, one.pruners)))
        except InvalidSpec as refused:
            said = "; ".join(f"{error.pointer}: {error.message}" for error in refused.errors)
            raise typer.BadParameter(f"{one.label}: {said}") from refused
    answers = []
    with advancing("simulating", total=len(specs)) as advance:
        for label, spec in specs:
            try:
                answers.append(Answered(label, spec, whatif(spec, record, workers=workers)))
            except InvalidSpec as refused:
                message = "; ".join(error.message for error in refused.errors)
                raise LocalError(f"study {info.name} cannot be asked: {message}") from refused
            advance()
    return answers


def _told(info: "StudyRead", record: "Sequence[Curve]", answers: Sequence[Answered], workers: int) -> dict[str, Any]:
    from hpo.whatif import recorded

    epochs, best = recorded(answers[0].spec, record)
    rows = []
    for one in answers:
        found = asdict(one.found)
        del found["best"], found["certain_best"]
        rows.append(
            {
                "label": one.label,
                "scheduler": one.spec.scheduler.model_dump(mode="json"),
                "pruners": [pruner.model_dump(mode="json") for pruner in one.spec.pruners],
                **found,
                "epochs_missing": one.found.epochs_missing,
                "best": _value(one.found.best, info.objective),
                "certain_best": _value(one.found.certain_best, info.objective),
            }
        )
    was = {"trials": len(record), "epochs": epochs, "best": _value(best, info.objective)}
    return {"study": info.name, "workers": workers, "recorded": was, "schedulers": rows}


def _value(best: "Found | None", objective: "Objective") -> dict[str, Any] | None:
    return None if best is None else {"trial": best.trial, "step": best.step, "value": objective.value(best.loss)}


def _show(info: "StudyRead", record: "Sequence[Curve]", answers: Sequence[Answered], workers: int) -> None:
    from hpo.whatif import recorded

    epochs, best = recorded(answers[0].spec, record)
    rows: list[tuple[object, ...]] = [("recorded", len(record), epochs, *_cells(best, info.objective), None)]
    for one in answers:
        cells = _cells(one.found.best, info.objective, "~" * bool(one.found.censored))
        rows.append((one.label, one.found.trials, one.found.epochs, *cells, len(one.found.censored)))
    columns = ("scheduler", "trials", "epochs", "best", "trial", "at epoch", "censored")
    table(columns, rows)
    say(f"{workers} worker{'s' * (workers != 1)}, trials in the order of their creation")
    for one in answers:
        for remark in _remarks(one.found, info.objective):
            say(f"  {one.label}: {remark}")


def _cells(best: "Found | None", objective: "Objective", mark: str = "") -> tuple[object, ...]:
    if best is None:
        return None, None, None
    return f"{mark}{number(objective.value(best.loss))}", best.trial, best.step


def _remarks(found: "Counterfactual", objective: "Objective") -> Iterable[str]:
    if found.censored:
        trials = f"{len(found.censored)} trial{'s' * (len(found.censored) != 1)}"
        epochs = f"{found.epochs_missing} epoch{'s' * (found.epochs_missing != 1)}"
        sure = found.certain_best
        value = "no value" if sure is None else f"{number(objective.value(sure.loss))} at trial {sure.trial}"
        yield (
            f"wanted {trials} trained further than recorded, by {epochs} to their next stops; each ends where its"
            f" record does, as the worst of its rung. Certain are the first {found.certain_epochs} epochs, which find"
            f" {value}; the rest is an estimate"
        )
    if found.not_started:
        yield f"{found.not_started} recorded trials were never started"
    if found.trials_missing:
        yield "came to the end of the record; the study allowed for more trials"
