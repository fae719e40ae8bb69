"""What a study has found: ``ladder best``, ``rungs`` and ``pareto``."""

from typing import Annotated

import typer

from ladder.cli.confirmation import show_confirmation
from ladder.cli.options import AsJson, StudyName
from ladder.cli.output import console, emit, emit_lines, number, params, say, table


def best(
    study: StudyName,
    top: Annotated[int, typer.Option(min=1, help="How many.")] = 1,
    confirmed: Annotated[
        bool, typer.Option("--confirmed", help="Instead what became of the winners, trained anew and tested.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the best trials of a study, best first."""
    from ladder.client import Client

    with Client() as client:
        if confirmed:
            confirmation = client.studies.confirmed(study)
            return emit(confirmation) if as_json else show_confirmation(confirmation)
        found = client.studies.best(study, top=top)
    if as_json:
        return emit_lines(found)
    rows = [(t.number, number(t.value), t.step, t.state, params(t.params)) for t in found]
    table(("trial", "value", "epochs", "state", "params"), rows)


def rungs(study: StudyName, as_json: AsJson = False) -> None:
    """Show how the rungs of a study fill."""
    from ladder.client import Client

    with Client() as client:
        found = client.studies.rungs(study)
    if as_json:
        return emit_lines(found)
    from ladder.watch import rung_table

    console().print(rung_table(tuple(found)))


def pareto(study: StudyName, as_json: AsJson = False) -> None:
    """Show the trials that no other beats in every objective, and the hypervolume they dominate."""
    from ladder.client import Client

    with Client() as client:
        objectives = client.studies.read(study).objectives
        found = client.studies.pareto(study)
    if as_json:
        return emit(found)
    rows = [
        (t.number, *map(number, t.values or (t.value,)), t.step, t.state, params(t.params))
        for t in sorted(found.items, key=lambda t: objectives[0].loss(t.value))
    ]
    table(("trial", *(objective.metric for objective in objectives), "epochs", "state", "params"), rows)
    if found.hypervolume is not None:
        reference = " ".join(str(number(value)) for value in found.reference_point or ())
        say(f"hypervolume {number(found.hypervolume)} up to the reference point {reference}")
