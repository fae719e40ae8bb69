"""``ladder lease …``: the worker protocol by hand, for trainers that are shell scripts."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from ladder.cli.options import AsJson, StudyName, TrialNumber
from ladder.cli.output import emit, params, say, talk

app = typer.Typer(help="Train trials of a study by hand: ask, report, tell.", no_args_is_help=True)
Lease = Annotated[UUID, typer.Option(help="The lease's token, as `ask` gave it.", show_default=False)]
Metrics = Annotated[list[str], typer.Argument(metavar="METRIC=VALUE …", help="Such as val_acc=0.93; nan and inf too.")]


@app.command()
def ask(
    study: StudyName,
    worker: Annotated[str, typer.Option(help="Who trains.")] = "shell",
    count: Annotated[int, typer.Option(min=1, max=100, help="How many trials.")] = 1,
    lease_s: Annotated[float | None, typer.Option(min=1, help="Seconds until a sign of life is due.")] = None,
    as_json: AsJson = False,
) -> int:
    """Lease trials of a study; exit 5 if it has none to give just now."""
    from api.schemas.leases import AskIn
    from ladder.cli.failures import NOT_MET, OK
    from ladder.client import Client

    with Client() as client:
        found = client.leases.ask(study, AskIn(worker=worker, count=count, lease_s=lease_s))
    if as_json:
        emit(found)
    else:
        for one in found.trials:
            say(f"trial {one.number}  lease {one.lease.token}  to epoch {one.target_step}  {params(one.params)}")
    if not found.trials:
        talk(f"nothing to do: {found.reason}")
    return OK if found.trials else NOT_MET


@app.command()
def heartbeat(study: StudyName, trial: TrialNumber, lease: Lease, as_json: AsJson = False) -> None:
    """Renew a lease."""
    from ladder.client import Client

    with Client() as client:
        found = client.leases.heartbeat(study, trial, lease)
    if as_json:
        return emit(found)
    say(f"until {found.lease_expires_at:%H:%M:%S}" + (f"; asked to {found.stop}" if found.stop else ""))


@app.command()
def report(
    study: StudyName,
    trial: TrialNumber,
    epoch: Annotated[int, typer.Argument(min=1, help="That has ended.")],
    metrics: Metrics,
    lease: Lease,
    as_json: AsJson = False,
) -> None:
    """Account for an epoch; prints whether to continue, pause or stop."""
    from api.schemas.base import metric_out
    from api.schemas.leases import ReportIn
    from ladder.client import Client

    with Client() as client:
        body = ReportIn(lease=lease, step=epoch, metrics={n: metric_out(v) for n, v in _metrics(metrics).items()})
        found = client.leases.report(study, trial, body)
    if as_json:
        return emit(found)
    say(found.decision + (f" to epoch {found.target_step}" if found.target_step else ""))


@app.command()
def tell(
    study: StudyName,
    trial: TrialNumber,
    lease: Lease,
    error: Annotated[str | None, typer.Option(help="Failed: why. Else complete.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """End a trial: complete, or failed with --error."""
    from api.schemas.leases import ErrorIn, TellIn
    from ladder.client import Client

    with Client() as client:
        failed = None if error is None else ErrorIn(type="user_error", message=error)
        state = "complete" if failed is None else "failed"
        found = client.leases.tell(
            study, trial, TellIn.model_validate({"lease": lease, "state": state, "error": failed})
        )
    if as_json:
        return emit(found)
    say(f"trial {found.number}  {found.state}")


@app.command()
def release(study: StudyName, trial: TrialNumber, lease: Lease, as_json: AsJson = False) -> None:
    """Hand a trial back unfinished; it counts as no failure."""
    from api.schemas.leases import ReleaseIn
    from ladder.client import Client

    with Client() as client:
        client.leases.release(study, trial, ReleaseIn(lease=lease))
    if as_json:
        return emit({"study": study, "trial": trial, "released": True})
    say(f"trial {trial} is handed back")


@app.command()
def upload(
    study: StudyName,
    trial: TrialNumber,
    epoch: Annotated[int, typer.Argument(min=1, help="After which the file is the state.")],
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)],
    lease: Lease,
    as_json: AsJson = False,
) -> None:
    """Put a checkpoint into the store."""
    from ladder.client import Client

    with Client() as client:
        found = client.studies.upload(study, trial, epoch, file, lease=lease)
    if as_json:
        return emit(found)
    say(f"{found.name}  {found.size_bytes} bytes")


@app.command()
def log(
    study: StudyName,
    trial: TrialNumber,
    lease: Lease,
    first: Annotated[int, typer.Option(min=1, help="Position of the first line; counts them from 1.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Send lines from stdin as what the trial printed."""
    import sys
    from datetime import UTC, datetime
    from itertools import count, islice

    from api.schemas.logs import MAX_LINE_BYTES, MAX_LINES, LogLineIn, LogsIn
    from ladder.client import Client

    stored, positions = 0, count(first)
    with Client() as client:
        while texts := list(islice(sys.stdin, MAX_LINES)):
            whole = (text.rstrip("\r\n").replace("\0", "").encode()[:MAX_LINE_BYTES] for text in texts)
            lines = [
                LogLineIn(
                    position=next(positions), at=datetime.now(UTC), stream="out", text=one.decode(errors="ignore")
                )
                for one in whole
            ]
            stored += client.leases.log(study, trial, LogsIn(lease=lease, lines=lines)).stored
    if as_json:
        return emit({"stored": stored})
    say(f"{stored} line{'s' * (stored != 1)} stored")


def _metrics(given: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for assignment in given:
        name, equals, text = assignment.partition("=")
        try:
            found[name] = float(text)
        except ValueError:
            equals = ""
        if not equals or not name:
            raise typer.BadParameter(f"a metric is NAME=NUMBER, got {assignment!r}")
    return found
