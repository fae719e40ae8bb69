"""``ladder import optuna`` and ``ladder export optuna``: studies from Optuna's storages, and into them."""

from typing import Annotated

import typer

from ladder.cli.options import AsJson, StudyName
from ladder.cli.output import advancing, emit, say, talk

importing = typer.Typer(help="Take in studies of other programs.", no_args_is_help=True)
exporting = typer.Typer(help="Write studies for other programs.", no_args_is_help=True)
Url = Annotated[
    str, typer.Argument(metavar="URL", help="Such as sqlite:///old.db, or the path of a journal.", show_default=False)
]


@importing.callback()
def _importing() -> None:
    """Take in studies of other programs."""


@exporting.callback()
def _exporting() -> None:
    """Write studies for other programs."""


@importing.command("optuna")
def import_optuna(
    url: Url,
    study: Annotated[
        str | None, typer.Option(help="Which one, where the storage holds several.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option(help="Its name here, else its own.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Take in an Optuna study with all its trials: it stands here finished, to be looked at, cloned or started from.

    An import that broke off is simply begun again.
    """
    from ladder.cli.extras import need

    need("import optuna", ("optuna",))
    from ladder.client import Client
    from ladder.optuna_import import pages, read

    taken = read(url, study, name)
    for note in taken.notes:
        talk(note)
    with Client() as client, advancing(f"taking in {len(taken.trials)} trials", total=len(taken.trials)) as advance:
        for page in pages(taken):
            info = client.studies.import_page(page)
            for _ in page.trials:
                advance()
    if as_json:
        return emit(info)
    say(f"{info.name}  {info.state}  {len(taken.trials)} trials  {info.id}")
    talk(f"  look at them: ladder trial ls {info.name} --order-by value")


@exporting.command("optuna")
def export_optuna(
    study: StudyName,
    url: Url,
    name: Annotated[str | None, typer.Option(help="Its name there, else its own.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Write a study into an Optuna storage, which optuna-dashboard then opens."""
    from ladder.cli.extras import need

    need("export optuna", ("optuna",))
    from ladder.client import Client
    from ladder.optuna_export import write

    with Client() as client, advancing(f"writing the trials of {study}"):
        found = write(client, study, url, name)
        best = client.studies.read(study).best
    if as_json:
        return emit({"study": found.study, "storage": url, "trials": found.trials, "best_value": found.best_value})
    say(f"{found.study}  {found.trials} trials in {url}")
    if best is not None and best.values is None and best.value != found.best_value:
        theirs = "none" if found.best_value is None else f"{found.best_value:g}"
        talk(
            f"  Ladder's best is {best.value:g}, of trial {best.number}; Optuna's, of complete ones alone, is {theirs}"
        )
    talk(f"  look at them: optuna-dashboard {url}")
