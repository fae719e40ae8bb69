"""``ladder trainers``, ``samplers``, ``schedulers`` and ``rules``: what a study can be made of."""

import json
from typing import TYPE_CHECKING

import typer

from ladder.cli import completion
from ladder.cli.options import AsJson
from ladder.cli.output import console, emit, emit_lines, say, table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from api.schemas.registry import EntryRead
    from ladder.client import Client

KINDS = {
    "trainers": "What trains: its settings, metrics and what may be tuned.",
    "samplers": "What proposes configurations.",
    "schedulers": "What spends the epochs.",
    "rules": "What stops single trials, as a study's pruners.",
}


def group(kind: str) -> typer.Typer:
    """The commands ``ls`` and ``show`` of one kind."""
    app = typer.Typer(help=KINDS[kind], no_args_is_help=True)
    given = typer.Argument(metavar="NAME", help="Its name.", autocompletion=completion.entries(kind))

    def ls(as_json: AsJson = False) -> None:
        from ladder.client import Client

        with Client() as client:
            found = _all(client, kind)
        if as_json:
            return emit_lines(entry.model_dump(mode="json", by_alias=True) for entry in found)
        table(("name", "summary"), [(entry.name, entry.summary) for entry in found])

    def show(name: str = given, as_json: AsJson = False) -> None:
        from ladder.client import Client
        from ladder.errors import LocalError

        with Client() as client:
            found = _all(client, kind)
        entry = next((one for one in found if one.name == name), None)
        if entry is None:
            known = ", ".join(one.name for one in found)
            raise LocalError(f"there is none of the {kind} named {name!r}, but {known}", f"ladder {kind} ls")
        if as_json:
            return emit(entry.model_dump(mode="json", by_alias=True))
        say(f"{entry.name}: {entry.summary}")
        console().print_json(json.dumps(entry.schema_))

    app.command("ls", help=f"List the {kind}.")(ls)
    app.command("show", help="Show one with the JSON Schema of its settings.")(show)
    return app


def _all(client: "Client", kind: str) -> "Sequence[EntryRead]":
    calls: dict[str, Callable[[], Sequence[EntryRead]]] = {
        "trainers": client.registry.trainers,
        "samplers": client.registry.samplers,
        "schedulers": client.registry.schedulers,
        "rules": client.registry.rules,
    }
    return calls[kind]()
