"""``ladder plan``: what a study would cost, before it is created."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ladder.cli.files import pointing_at, read_spec
from ladder.cli.options import AsJson
from ladder.cli.output import advancing, emit, fields, table

if TYPE_CHECKING:
    from api.schemas.studies import DryRun
    from ladder.client import Client
    from ladder.specfile import SpecFile


def plan(
    file: Annotated[Path, typer.Option("--file", "-f", help="The study in YAML; - reads stdin.", show_default=False)],
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a field.")] = None,
    epoch_s: Annotated[
        float | None, typer.Option(min=1e-9, help="Seconds that an epoch takes: shows hours.", show_default=False)
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(metavar="STUDY", help="Take the median epoch of this study instead.", show_default=False),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=1000, help="How many train at once.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Check a study and show its brackets, rungs, trials, epochs and hours; nothing is stored."""
    from ladder.client import Client
    from ladder.specfile import override

    if epoch_s is not None and like is not None:
        raise typer.BadParameter("give --epoch-s or --like, not both")
    spec = read_spec(file)
    for assignment in set_ or ():
        override(spec.data, assignment)
    with Client() as client:
        if like is not None:
            epoch_s = _median_epoch_s(client, like)
        show_plan(client, spec, epoch_s=epoch_s, workers=workers, as_json=as_json)


def show_plan(
    client: "Client", spec: "SpecFile", *, epoch_s: float | None = None, workers: int = 1, as_json: bool
) -> None:
    with pointing_at(spec):
        planned = client.studies.plan(spec.data, epoch_s=epoch_s, workers=workers)
    if as_json:
        return emit({**planned.model_dump(mode="json"), "epoch_s": epoch_s, "workers": workers})
    columns = ("bracket", "rung", "resource", "trials", "epochs")
    table(columns, [(r.bracket, r.rung, r.resource, r.trials, r.epochs) for r in planned.rungs])
    fields(_sums(planned, epoch_s, workers))


def _sums(planned: "DryRun", epoch_s: float | None, workers: int) -> dict[str, object]:
    sums: dict[str, object] = {
        "trials": f"{planned.max_trials} at most",
        "epochs": f"{planned.epochs} if each rung keeps its share, {planned.epochs_without_pruning} without pruning",
    }
    if planned.epochs_low is not None:
        sums["spread"] = f"{planned.epochs_low} to {planned.epochs_high} epochs in nine of ten simulated runs"
    if planned.confirm_epochs is not None:
        sums["confirmation"] = f"{planned.confirm_epochs} epochs besides"
    if epoch_s is not None and planned.hours is not None:
        sums["speed"] = f"{epoch_s:.4g} s an epoch"
        sums["device hours"] = f"{planned.gpu_hours:.4g}"
        sums["hours"] = f"{planned.hours:.4g} on {workers} worker{'s' * (workers != 1)} that are never idle"
    return sums


def _median_epoch_s(client: "Client", study: str) -> float:
    """Raises LocalError if none of its reports tells how long it took."""
    from statistics import median

    from ladder.errors import LocalError

    with advancing(f"reading the epochs of {study}") as advance:
        seconds: list[float] = []
        for curve in client.studies.curves(study):
            seconds += [one for one in curve.seconds if one is not None]
            advance()
    if not seconds:
        raise LocalError(f"study {study} has no epoch with a duration yet", "give --epoch-s instead")
    return median(seconds)
