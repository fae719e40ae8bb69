"""``ladder doctor``, ``version``, ``metrics``, ``openapi`` and ``explain``: about the server itself."""

import json
from typing import Annotated

import typer

from ladder.cli.options import AsJson
from ladder.cli.output import emit, emit_lines, fields, say, table, talk


def doctor(as_json: AsJson = False) -> int:
    """Check what Ladder needs: API, database, migrations, Redis, disk, clock, devices, versions."""
    from ladder.cli.server import settings_from
    from ladder.doctor import examine

    checks = examine(settings_from())
    if as_json:
        emit_lines(check.as_object() for check in checks)
    else:
        marks = {True: "ok", False: "FAILED", None: "-"}
        table(("check", "", "found"), [(check.name, marks[check.ok], check.found) for check in checks])
    failed = [check for check in checks if check.ok is False]
    for check in failed:
        talk(f"{check.name}: {check.found}\n  try: {check.hint}")
    return 1 if failed else 0


def openapi(
    live: Annotated[bool, typer.Option("--live", help="Ask the running API, not this installation.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the API's schema, as JSON in any case."""
    if live:
        from ladder.client import Client

        with Client() as client:
            schema = client.server.openapi()
    else:
        from api.main import openapi_document

        schema = openapi_document()
    say(json.dumps(schema, indent=None if as_json else 2))


def events(
    after: Annotated[str | None, typer.Option(help="Only past the event with this id.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Show what happens to all studies and workers, until Ctrl-C."""
    from ladder.client import Client

    with Client() as client:
        for event in client.events(after=after):
            if as_json:
                emit({"type": event.type, "id": event.id, "data": event.data})
            else:
                say(f"{event.type}  " + " ".join(f"{name}={value}" for name, value in event.data.items()))


def version(as_json: AsJson = False) -> None:
    """Show which Ladder runs here and which one answers, and whether the server is ready."""
    from importlib.metadata import version as installed

    from ladder.client import Client

    with Client() as client:
        found = {"client": installed("ladder-hpo"), "server": client.server.version()}
        found |= {"health": client.server.health(), "ready": client.server.ready()}
    if as_json:
        return emit(found)
    fields({name: value if isinstance(value, str) else json.dumps(value) for name, value in found.items()})


def metrics(as_json: AsJson = False) -> None:
    """Print the API's counters and histograms, as Prometheus reads them."""
    from ladder.client import Client

    with Client() as client:
        found = client.server.metrics()
    if as_json:
        return emit({"text": found})
    say(found.rstrip("\n"))


def explain(
    code: Annotated[str, typer.Argument(metavar="CODE", help="Such as invalid_state, as an error names it.")],
    as_json: AsJson = False,
) -> None:
    """Say what an error of the API means, and what to do."""
    from ladder.client import Client

    with Client() as client:
        found = client.server.problem(code)
    if as_json:
        return emit(found)
    fields(found)
