"""``ladder study export``: a study as files for other programs."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ladder.cli.options import AsJson, StudyName
from ladder.cli.output import advancing, emit, number, say, talk

if TYPE_CHECKING:
    from ladder.result_calls import Format as ApiFormat
    from ladder.result_calls import What as ApiWhat


class Format(StrEnum):
    """As what trials, metrics and decisions are written."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    OPTUNA = "optuna"


class What(StrEnum):
    """What can be exported."""

    TRIALS = "trials"
    METRICS = "metrics"
    DECISIONS = "decisions"
    TENSORBOARD = "tensorboard"
    MODEL = "model"


def export(
    study: StudyName,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="Where to; - is stdout, and a directory for models.")
    ],
    what: Annotated[
        What,
        typer.Option(
            help="trials, their metrics of every step, decisions; tensorboard: event files; model: the best network."
        ),
    ] = What.TRIALS,
    format_: Annotated[
        Format | None, typer.Option("--format", help="Else by the file's ending.", show_default=False)
    ] = None,
    trial: Annotated[
        int | None, typer.Option(min=0, help="With model: this trial, not the best.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a study to files: its trials as CSV, JSON Lines, Parquet or Optuna's journal, curves, its best model."""
    if format_ is not None and what in (What.MODEL, What.TENSORBOARD):
        raise typer.BadParameter(f"--format belongs to trials, metrics and decisions, not to {what}")
    if what is What.MODEL:
        return _model(study, out, trial, as_json)
    if trial is not None:
        raise typer.BadParameter("--trial belongs to --what model: all trials are exported otherwise")
    if what is What.TENSORBOARD:
        return _tensorboard(study, out, as_json)
    _table(study, out, what, format_, as_json)


def _table(study: str, out: Path, what: What, format_: Format | None, as_json: bool) -> None:
    from ladder.client import Client
    from ladder.errors import LocalError
    from ladder.study import format_of

    try:
        form: ApiFormat = "csv"
        if format_ is not None:
            form = format_.value
        elif str(out) != "-":
            form = format_of(out)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    wanted = cast("ApiWhat", what.value)
    with Client() as client:
        if str(out) == "-":
            # Bytes as the server made them: text mode would change the ends of CSV's lines on some systems.
            for chunk in client.studies.export_chunks(study, what=wanted, format=form):
                sys.stdout.buffer.write(chunk)
            sys.stdout.flush()
            return
        try:
            client.studies.export(study, out, what=wanted, format=form)
        except OSError as error:
            raise LocalError(f"{out}: {error.strerror}", "choose another file with -o") from error
    if as_json:
        return emit({"file": str(out), "what": wanted, "format": form, "size_bytes": out.stat().st_size})
    say(f"{out}  {out.stat().st_size} bytes")


def _tensorboard(study: str, out: Path, as_json: bool) -> None:
    from ladder.cli.extras import need

    need("--what tensorboard", ("tensorboardX",), extra="tensorboard")
    from ladder.client import Client
    from ladder.tensorboard import export_tensorboard

    with Client() as client, advancing(f"writing the trials of {study}") as advanced:
        runs = export_tensorboard(client, study, out, advanced=advanced)
    if as_json:
        return emit({"runs": runs, "directory": str(out)})
    say(f"{runs} run{'s' * (runs != 1)} in {out}")
    talk(f"  look at them: tensorboard --logdir {out}")


def _model(study: str, out: Path, trial: int | None, as_json: bool) -> None:
    from ladder.cli.extras import need

    need("--what model", ("numpy", "safetensors"), extra=None)
    from ladder.client import Client
    from ladder.exports import export_model

    with Client() as client:
        card = export_model(client, study, out, trial=trial)
    if as_json:
        return emit(card)
    value = " ".join(f"{name} {number(card.metrics[name])}" for name in ("val_acc", "test_acc") if name in card.metrics)
    say(f"{card.architecture} of {card.study}, trial {card.trial}, epoch {card.step}: {value}")
    talk(f"  use it: ladder.load_model({str(out)!r})")
