"""``ladder trial …``."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ladder.cli import completion, trial_files
from ladder.cli.options import AsJson, StudyName, TrialNumber
from ladder.cli.output import emit, emit_lines, fields, number, params, say, table

if TYPE_CHECKING:
    from api.schemas.trials import TrialRead

app = typer.Typer(help="Look at the trials of a study, steer them, and ask for more.", no_args_is_help=True)
for command in (trial_files.logs, trial_files.artifacts, trial_files.manifest, trial_files.download):
    app.command()(command)


@app.command("ls")
def ls(
    study: StudyName,
    state: Annotated[
        str | None,
        typer.Option(help="Only trials in this state.", show_default=False, autocompletion=completion.trial_states),
    ] = None,
    rung: Annotated[int | None, typer.Option(min=0, help="Only those whose highest rung is this.")] = None,
    order_by: Annotated[
        str | None, typer.Option(help="number, value, params.NAME, …; - before it turns it round.", show_default=False)
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Such as params.lr:lt:0.01; may be repeated.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the trials of a study."""
    from ladder.client import Client

    with Client() as client:
        found = client.studies.trials(study, state=state, rung=rung, where=where or (), order_by=order_by)
    if as_json:
        return emit_lines(found)
    columns = ("trial", "state", "value", "epochs", "rung", "attempt", "worker", "params")
    table(columns, [_row(trial) for trial in found])


@app.command()
def get(study: StudyName, trial: TrialNumber, as_json: AsJson = False) -> None:
    """Show a trial with its curve, its decisions and its attempts."""
    from ladder.client import Client

    with Client() as client:
        info = client.studies.trial(study, trial)
        curve = client.studies.metrics(study, trial)
        decisions = client.studies.decisions(study, trial)
        attempts = client.studies.attempts(study, trial)
    if as_json:
        return emit(
            {
                **info.model_dump(mode="json"),
                "metrics": [step.model_dump(mode="json") for step in curve],
                "decisions": [decision.model_dump(mode="json") for decision in decisions],
                "attempts": [attempt.model_dump(mode="json") for attempt in attempts],
            }
        )
    fields(
        {
            "trial": info.number,
            "state": info.state,
            "value": number(info.value) or info.non_finite,
            "params": params(info.params),
            "epochs": f"{info.last_step} of {info.target_step}",
            "worker": info.worker,
            "error": f"{info.error.get('type')}: {info.error.get('message')}" if info.error else None,
        }
    )
    if curve:
        names = sorted({name for step in curve for name in step.metrics})
        table(
            ("epoch", *names),
            [
                (step.step, *(_cell(step.non_finite.get(name, step.metrics.get(name))) for name in names))
                for step in curve
            ],
        )
    if decisions:
        table(
            ("rung", "resource", "value", "decision"),
            [(d.rung, d.resource, number(d.value), d.decision) for d in decisions],
        )
    if attempts:
        table(
            ("attempt", "worker", "from", "to", "ended"),
            [(a.attempt, a.worker, a.start_step, a.end_step, a.end_class) for a in attempts],
        )


@app.command()
def confusion(
    study: StudyName,
    trial: TrialNumber,
    step: Annotated[
        int | None, typer.Option(min=1, help="Of this step; else the newest that has one.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how a trial classified the validation images: by true and predicted class, and the scores of each class."""
    from ladder.client import Client

    with Client() as client:
        found = client.studies.confusion(study, trial, step=step)
    if as_json:
        return emit(found)
    scores = (found.macro.precision, found.macro.recall, found.macro.f1)
    fields(
        {
            "step": found.step,
            "accuracy": number(found.accuracy),
            "balanced accuracy": number(found.balanced_accuracy),
        }
    )
    rows = [(c.name, number(c.precision), number(c.recall), number(c.f1), c.support) for c in found.per_class]
    images = sum(c.support for c in found.per_class)
    table(("class", "precision", "recall", "f1", "images"), [*rows, ("macro", *map(number, scores), images)])
    # A line of the matrix is a true class, a column a predicted one.
    lines = zip(found.class_names, found.matrix, strict=True)
    table(("true \\ predicted", *found.class_names), [(name, *row) for name, row in lines])


@app.command()
def enqueue(
    study: StudyName,
    values: Annotated[list[str], typer.Argument(metavar="NAME=VALUE…", help="The whole configuration.")],
    repeat: Annotated[int, typer.Option(min=1, max=1000, help="How often to train it.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Have a configuration trained before what the sampler proposes; a value is JSON, else text."""
    from ladder.client import Client

    chosen = _assigned(values)
    with Client() as client:
        waiting = client.studies.enqueue(study, chosen, repeat=repeat)
    if as_json:
        return emit({"params": chosen, "repeat": repeat, "waiting": waiting})
    say(f"{waiting} configuration{'s' * (waiting != 1)} wait{'s' * (waiting == 1)} to become trials")


@app.command()
def stop(study: StudyName, trial: TrialNumber, as_json: AsJson = False) -> None:
    """End a trial with what it has; one that runs hears of it at its next heartbeat or report."""
    from ladder.client import Client

    with Client() as client:
        _tell(client.studies.stop_trial(study, trial), as_json)


@app.command()
def retry(study: StudyName, trial: TrialNumber, as_json: AsJson = False) -> None:
    """Queue a failed or cancelled trial again, from its last good checkpoint."""
    from ladder.client import Client

    with Client() as client:
        _tell(client.studies.retry_trial(study, trial), as_json)


def _tell(info: "TrialRead", as_json: bool) -> None:
    if as_json:
        return emit(info)
    say(f"trial {info.number}  {info.state}  attempt {info.attempt}")


@app.command()
def schedule(
    study: StudyName,
    trial: TrialNumber,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="A YAML list, to train by.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show with which params a trial's weights were trained, from the first epoch on."""
    from ladder.client import Client

    if as_yaml and as_json:
        raise typer.BadParameter("give --yaml or --json, not both")
    with Client() as client:
        segments = client.studies.schedule(study, trial)
    if as_yaml:
        import yaml

        return say(yaml.safe_dump([one.model_dump(mode="json") for one in segments], sort_keys=False).rstrip("\n"))
    if as_json:
        return emit_lines(segments)
    rows = [(one.trial, one.after_step + 1, one.to_step, params(one.params)) for one in segments]
    table(("trial", "from epoch", "to epoch", "params"), rows)


def _assigned(values: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for assignment in values:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"a parameter is NAME=VALUE, got {assignment!r}")
        if name in found:
            raise typer.BadParameter(f"{name} is given twice")
        found[name] = _value(text)
        if isinstance(found[name], dict | list | None):
            raise typer.BadParameter(f"{name}: a value is a number, true, false or text, got {text}")
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=str)  # NaN is no JSON: a word
    except ValueError:
        return text


def _row(t: "TrialRead") -> tuple[object, ...]:
    epochs, value = f"{t.last_step}/{t.target_step}", number(t.value) or t.non_finite
    return t.number, t.state, value, epochs, t.rung, t.attempt, t.worker, params(t.params)


def _cell(value: object) -> object:
    return number(value) if isinstance(value, float) else value
