"""``ladder doctor`` and ``ladder openapi``."""

import json
from typing import Annotated

import typer

from ladder.cli.options import AsJson
from ladder.cli.output import emit_lines, say, table, talk


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
            schema = client.http.request("GET", "/api/v1/openapi.json").json()
    else:
        from api.main import openapi_document

        schema = openapi_document()
    say(json.dumps(schema, indent=None if as_json else 2))
