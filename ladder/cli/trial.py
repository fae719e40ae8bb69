"""``ladder trial …``."""

from typing import TYPE_CHECKING, Annotated

import typer

from ladder.cli.options import AsJson, StudyName
from ladder.cli.output import emit, emit_lines, fields, number, params, table

if TYPE_CHECKING:
    from api.schemas.trials import TrialRead

app = typer.Typer(help="Look at the trials of a study.", no_args_is_help=True)


@app.command("ls")
def ls(
    study: StudyName,
    state: Annotated[str | None, typer.Option(help="Only trials in this state.", show_default=False)] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Such as params.lr:lt:0.01; may be repeated.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the trials of a study."""
    from ladder.client import Client

    with Client() as client:
        found = client.studies.trials(study, state=state, where=where or ())
    if as_json:
        return emit_lines(found)
    columns = ("trial", "state", "value", "epochs", "rung", "attempt", "worker", "params")
    table(columns, [_row(trial) for trial in found])


@app.command()
def get(
    study: StudyName, trial: Annotated[int, typer.Argument(min=0, help="Its number.")], as_json: AsJson = False
) -> None:
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


def _row(t: "TrialRead") -> tuple[object, ...]:
    epochs, value = f"{t.last_step}/{t.target_step}", number(t.value) or t.non_finite
    return t.number, t.state, value, epochs, t.rung, t.attempt, t.worker, params(t.params)


def _cell(value: object) -> object:
    return number(value) if isinstance(value, float) else value
