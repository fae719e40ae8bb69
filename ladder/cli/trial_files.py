"""What trials leave behind: their logs and checkpoints."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ladder.cli.options import AsJson, StudyName, TrialNumber
from ladder.cli.output import emit, emit_lines, say, table, talk

if TYPE_CHECKING:
    from api.schemas.logs import LogLineRead
    from api.schemas.trials import ArtifactRead
    from ladder.client import Client

Step = Annotated[int | None, typer.Option(min=1, help="Of this step, else the newest.", show_default=False)]


def logs(
    study: StudyName,
    trial: TrialNumber,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the trial has ended.")] = False,
    tail: Annotated[int, typer.Option(min=1, max=2000, help="How many lines, the newest.")] = 500,
    attempt: Annotated[int | None, typer.Option(min=1, help="Of this attempt, else the newest.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a trial printed, and what its worker said of it."""
    from ladder.client import Client

    if follow and attempt is not None:
        raise typer.BadParameter("give --follow, which goes through all attempts, or --attempt")
    with Client() as client:
        if follow:
            for line in client.studies.follow_logs(study, trial, tail=tail):
                _show(line, as_json)
            return
        page = client.studies.logs(study, trial, attempt=attempt, tail=tail)
    for line in page.items:
        _show(line, as_json)
    if page.cut:
        talk(f"{page.cut} earlier lines of attempt {page.attempt} are not kept")


def artifacts(study: StudyName, trial: TrialNumber, as_json: AsJson = False) -> None:
    """List a trial's checkpoints, newest first."""
    from ladder.client import Client

    with Client() as client:
        found = client.studies.artifacts(study, trial)
    if as_json:
        return emit_lines(found)
    table(
        ("name", "epoch", "attempt", "bytes", "sha256", "created"),
        [(a.name, a.step, a.attempt, a.size_bytes, a.sha256[:12], f"{a.created_at:%Y-%m-%d %H:%M}") for a in found],
    )


def manifest(study: StudyName, trial: TrialNumber, step: Step = None, as_json: AsJson = False) -> None:
    """Show what the trainer wrote beside a checkpoint, as JSON in any case."""
    import json

    from ladder.client import Client

    with Client() as client:
        chosen = _chosen(client.studies.artifacts(study, trial), study, trial, step)
        found = client.studies.manifest(study, trial, chosen)
    say(json.dumps(found, indent=None if as_json else 2))


def download(
    study: StudyName,
    trial: Annotated[int | None, typer.Argument(min=0, help="Its number.", show_default=False)] = None,
    best: Annotated[
        bool,
        typer.Option("--best", help="Of the study's best trial; with a number, the best of that trial's."),
    ] = False,
    step: Step = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where to, else by its name.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a trial's checkpoint, checked by its SHA-256."""
    from ladder.client import Client
    from ladder.errors import LocalError

    if trial is None and not best:
        raise typer.BadParameter("give the number of a trial, or --best")
    if trial is not None and best and step is not None:
        raise typer.BadParameter("give --step or --best: with a number each names a checkpoint of the trial")
    with Client() as client:
        if trial is not None and best:
            step = _best_step(client, study, trial)
        if trial is None:
            found = client.studies.best(study)
            if not found:
                raise LocalError(f"study {study} has no trial with a value yet", f"ladder study watch {study}")
            trial = found[0].number
        chosen = _chosen(client.studies.artifacts(study, trial), study, trial, step)
        to = out or Path(f"{study}-{trial}-{chosen.name}")
        unfinished = to.with_name(f"{to.name}.part")
        try:
            client.studies.download(study, trial, chosen, unfinished)
            unfinished.replace(to)
        except OSError as error:
            raise LocalError(f"{to}: {error.strerror}", "choose another file with -o") from error
        finally:
            unfinished.unlink(missing_ok=True)
    if as_json:
        return emit({**chosen.model_dump(mode="json"), "file": str(to)})
    say(f"{to}  {chosen.size_bytes} bytes, epoch {chosen.step} of trial {trial}")


def _best_step(client: "Client", study: str, trial: int) -> int | None:
    """The step of the trial's checkpoint with the lowest loss; None without any checkpoint."""
    from ladder.errors import LocalError

    found = client.studies.artifacts(study, trial)
    if not found:
        return None
    objective = client.studies.read(study).objective
    values = {
        one.step: value
        for one in client.studies.metrics(study, trial, name=objective.metric)
        if (value := one.metrics.get(objective.metric)) is not None
    }
    steps = [one.step for one in found if one.step in values]
    if not steps:
        told = f"no checkpoint of trial {trial} has a finite {objective.metric}, to choose the best by"
        raise LocalError(told, f"ladder trial download {study} {trial}")
    return min(steps, key=lambda step: objective.loss(values[step]))


def _chosen(found: "list[ArtifactRead]", study: str, trial: int, step: int | None) -> "ArtifactRead":
    from ladder.errors import LocalError

    for artifact in found:
        if step is None or artifact.step == step:
            return artifact
    wanted = "" if step is None else f" of step {step}"
    raise LocalError(f"trial {trial} has no checkpoint{wanted}", f"ladder trial artifacts {study} {trial}")


def _show(line: "LogLineRead", as_json: bool) -> None:
    if as_json:
        return emit(line)
    mark = {"out": " ", "err": "!", "ladder": "#"}[line.stream]
    # What a trial printed must not steer the reader's terminal.
    text = "".join(sign if sign.isprintable() or sign == "\t" else f"\\x{ord(sign):02x}" for sign in line.text)
    say(f"{line.at:%H:%M:%S} {mark} {text}")
