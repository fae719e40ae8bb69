"""``ladder contest …``: several methods at one budget, and the table that comes of it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ladder.cli.files import pointing_at, read_spec
from ladder.cli.options import AsJson
from ladder.cli.output import console, emit, emit_lines, number, say, table, talk

if TYPE_CHECKING:
    from api.schemas.contests import ContestRead, ContestResult
    from ladder.client import Client

app = typer.Typer(help="Compare methods at an equal budget.", no_args_is_help=True)
ContestName = Annotated[str, typer.Argument(metavar="CONTEST", help="Name or id of the contest.")]


@app.command()
def create(
    file: Annotated[Path, typer.Option("--file", "-f", help="The contest in YAML; - reads stdin.", show_default=False)],
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a field.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Then watch it until all its studies end.")] = False,
    as_json: AsJson = False,
) -> int:
    """Create a contest from a YAML file, and start all its studies."""
    from ladder.client import Client
    from ladder.specfile import override

    spec = read_spec(file)
    for assignment in set_ or ():
        override(spec.data, assignment)
    with Client() as client:
        with pointing_at(spec):
            made = client.contests.create(spec.data)
        if watch:
            talk(f"created contest {made.name} ({made.id}) of {len(made.studies)} studies")
            return _watch(client, str(made.id), as_json)
    if as_json:
        emit(made)
    else:
        say(f"{made.name}  {made.state}  {made.id}")
        talk(f"  {len(made.studies)} studies; its table: ladder contest result {made.name}")
    return 0


@app.command("ls")
def ls(as_json: AsJson = False) -> None:
    """List contests, newest first."""
    from ladder.client import Client

    with Client() as client:
        found = client.contests.list()
    if as_json:
        return emit_lines(found)
    rows = [(one.name, one.state, one.complete, f"{one.created_at:%Y-%m-%d %H:%M}") for one in found]
    table(("name", "state", "complete", "created"), rows)


@app.command()
def get(contest: ContestName, as_json: AsJson = False) -> None:
    """Show a contest: its studies, and its table so far."""
    from ladder.client import Client

    with Client() as client:
        found = client.contests.get(contest)
    if as_json:
        return emit(found)
    _show(found)


@app.command()
def result(
    contest: ContestName,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV, numbers in full.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="As a Markdown table.")] = False,
    with_params: Annotated[
        bool, typer.Option("--params", help="With the best configuration of each method, confirmed where it was.")
    ] = False,
) -> None:
    """Show the table of a contest, by mean rank; of an unfinished one, the table so far."""
    from ladder.client import Client

    if as_json + as_csv + as_markdown > 1:
        raise typer.BadParameter("give one of --json, --csv and --markdown")
    with Client() as client:
        if as_csv or as_markdown:
            form = client.contests.csv if as_csv else client.contests.markdown
            text = form(contest, params=with_params)
            # Bytes as the server made them: text mode would change the ends of CSV's lines on some systems.
            sys.stdout.buffer.write(text.encode())
            sys.stdout.flush()
            return
        found = client.contests.result(contest, params=with_params)
    if as_json:
        return emit(found)
    _table(found)


def _watch(client: "Client", contest: str, as_json: bool) -> int:
    """Each change: a line, or a JSON object; the table at the end. 0 if every study finished."""
    last: ContestRead | None = None
    for last in client.contests.watch(contest):
        if as_json:
            emit(last)
        else:
            talk(_line(last))
    assert last is not None  # it is shown at least once
    if not as_json:
        _table(last.result)
    return 0 if last.state == "finished" else 1


def _line(contest: "ContestRead") -> str:
    leader = next((row for row in contest.result.items if row.value_mean is not None), None)
    epochs = sum(study.epochs for study in contest.studies)
    ahead = "" if leader is None else f"  first {leader.method} {number(leader.value_mean)}"
    return f"{contest.name}  {contest.state}  {contest.complete}  {epochs} epochs{ahead}"


def _show(contest: "ContestRead") -> None:
    confirmed = any(study.confirmation is not None for study in contest.studies)
    columns = ("study", "state", "reason", contest.result.metric, "epochs", "trials")
    rows = [
        (
            *(study.name, study.state, study.state_reason, number(study.value), study.epochs, study.trials),
            *((study.confirmation, number(study.test)) if confirmed else ()),
        )
        for study in contest.studies
    ]
    table((*columns, *(("confirmation", "test") if confirmed else ())), rows)
    console().print()
    _table(contest.result)


def _table(result: "ContestResult") -> None:
    tested = any(row.test_mean is not None for row in result.items)
    if params := dict.fromkeys(name for row in result.items for name in row.params or {}):
        worth = "test accuracy" if tested else f"{result.metric} (best)"
        found = [
            (row.method, *map((row.params or {}).get, params), number(row.test_mean if tested else row.value_best))
            for row in result.items
        ]
        table(("method", *params, worth), found)
        return talk(f"contest {result.contest} {result.state}: {result.complete} studies have ended")
    columns = ["method", "mean rank", result.metric, "± 95 % CI", "best", "epochs", "GPU hours", "wall hours", "trials"]
    rows = [
        (
            *(row.method, number(row.mean_rank), number(row.value_mean), number(row.value_ci95)),
            *(number(row.value_best), number(row.epochs_mean), number(row.gpu_hours), number(row.wall_hours)),
            row.trials,
            *([number(row.test_mean)] if tested else []),
        )
        for row in result.items
    ]
    table([*columns, *(["test"] if tested else [])], rows)
    talk(f"contest {result.contest} {result.state}: {result.complete} studies have ended")
