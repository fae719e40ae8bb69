"""What a study has found: ``ladder best``, ``rungs``, ``pareto``, ``importance``, ``plot`` and ``compare``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ladder.cli.confirmation import show_confirmation
from ladder.cli.options import AsJson, StudyName
from ladder.cli.output import console, emit, emit_lines, number, params, say, table, talk

if TYPE_CHECKING:
    from ladder.plots import Plot

Kind = Literal[
    "history", "curves", "parallel", "slice", "contour", "rank", "timeline", "edf", "pareto", "hypervolume",
    "importance",
]  # fmt: skip
OutFile = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE", help="A .json or .html file; else JSON on stdout.", show_default=False),
]


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
    from ladder.watch_view import rung_table

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


def importance(
    study: StudyName,
    method: Annotated[
        Literal["ped_anova", "fanova", "mdi"], typer.Option(help="fanova also tells of pairs, and takes a while.")
    ] = "ped_anova",
    objective: Annotated[int, typer.Option(min=0, help="Of which objective, counted from 0.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show how much each parameter matters."""
    from ladder.client import Client

    with Client() as client:
        found = client.studies.importance(study, method=method, objective=objective)
    if as_json:
        return emit(found)
    if found.values:
        table(("parameter", "share"), [(name, number(share)) for name, share in found.values.items()])
    if found.pairs:
        table(("pair", "share besides"), [(" × ".join(pair.params), number(pair.value)) for pair in found.pairs])
    talk(f"{found.method} on {found.n_trials} trials" + (f": {found.reason}" if found.reason else ""))


def plot(
    study: StudyName,
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="history, curves, parallel, slice, contour, …")],
    out: OutFile = None,
    names: Annotated[
        str | None, typer.Option("--params", metavar="A,B", help="Only these parameters.", show_default=False)
    ] = None,
    objective: Annotated[int, typer.Option(min=0, help="Of which objective, counted from 0.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write a figure of a study: plotly's JSON, or a page of its own that opens without a network."""
    from ladder.client import Client

    with Client() as client:
        _write(client.studies.plot(study, kind, params=names, objective=objective), out, as_json)


def compare(
    what: Annotated[list[str], typer.Argument(metavar="STUDY | STUDY/TRIAL …", help="Up to 20, all of one kind.")],
    out: OutFile = None,
    x: Annotated[
        Literal["trials", "epochs", "wall", "gpu_hours"] | None,
        typer.Option(help="With studies and -o: against what the best so far is drawn.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set trials or studies side by side; with -o draw their curves over each other."""
    from ladder.client import Client

    trials = [one for one in what if "/" in one]
    studies = [one for one in what if "/" not in one]
    if trials and studies:
        raise typer.BadParameter(f"compare trials or studies, got {trials[0]} and {studies[0]}")
    with Client() as client:
        if out is not None:
            return _write(client.studies.compare_plot(trials=trials, studies=studies, x=x), out, as_json)
        found = client.studies.compare(trials=trials, studies=studies)
    if as_json:
        return emit(found)
    rows = [
        (
            one.study,
            one.number,
            one.state,
            number(one.value),
            one.epochs,
            params({n: one.params.get(n) for n in found.differing}),
        )
        for one in found.items
    ]
    table(("study", "trial", "state", "value", "epochs", "differing params"), rows)


def _write(plot: "Plot", out: Path | None, as_json: bool) -> None:
    if out is None:
        return emit(plot)
    if out.suffix not in (".json", ".html"):
        raise typer.BadParameter(f"--out wants a name that ends in .json or .html, got {out}")
    plot.write(out)
    if as_json:
        return emit({"file": str(out), **plot.meta.model_dump(mode="json")})
    say(str(out))
    talk(f"{plot.meta.shown} of {plot.meta.n_trials} shown" + (f": {plot.meta.reason}" if plot.meta.reason else ""))
