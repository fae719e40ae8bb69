"""``ladder study export``: a study as files for other programs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ladder.cli.options import AsJson, StudyName
from ladder.cli.output import advancing, emit, number, say, talk


class What(StrEnum):
    """What can be exported."""

    TENSORBOARD = "tensorboard"
    MODEL = "model"


def export(
    study: StudyName,
    what: Annotated[
        What, typer.Option(help="tensorboard: event files with HParams; model: the best network.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where to.", show_default=False)],
    trial: Annotated[
        int | None, typer.Option(min=0, help="With model: this trial, not the best.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a study's curves as TensorBoard event files, or its best model as safetensors."""
    if what is What.MODEL:
        return _model(study, out, trial, as_json)
    if trial is not None:
        raise typer.BadParameter("--trial belongs to --what model: all trials are exported to TensorBoard")
    _tensorboard(study, out, as_json)


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
