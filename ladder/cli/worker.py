"""``ladder worker`` runs one; ``ladder worker ls`` lists them."""

from typing import Annotated

import typer

from ladder.cli.options import AsJson
from ladder.cli.output import emit, emit_lines, table

app = typer.Typer(help="Run a worker, or list all workers.", invoke_without_command=True)


@app.callback()
def work(
    context: typer.Context,
    queue: Annotated[
        str | None, typer.Option(help="Queue to work for (LADDER_QUEUE, cpu).", show_default=False)
    ] = None,
    slots: Annotated[int | None, typer.Option(min=1, max=64, help="Trials at a time, each in a process.")] = None,
    url: Annotated[str | None, typer.Option(help="The API (LADDER_URL).", show_default=False)] = None,
    token: Annotated[
        str | None, typer.Option(help="A key of scope worker; LADDER_TOKEN keeps it out of ps.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option(help="Unique name of the worker.", show_default=False)] = None,
    as_json: AsJson = False,
) -> int:
    """Train trials of a queue until told to stop; SIGTERM hands the trial back and exits 0."""
    if context.invoked_subcommand is not None:
        return 0
    from ladder.cli.server import settings_from, worker_entry

    settings = settings_from(queue=queue, slots=slots, url=url, token=token, worker_name=name)
    code = worker_entry("run_worker")(settings)
    if as_json:
        emit({"process": "worker", "exit_code": code})
    return code


@app.command("ls")
def ls(as_json: AsJson = False) -> None:
    """List the workers that have registered."""
    from ladder.client import Client

    with Client() as client:
        found = client.workers.list()
    if as_json:
        return emit_lines(found)
    table(
        ("name", "state", "queue", "device", "trial", "host", "seen"),
        [(w.name, w.state, w.queue, w.device, w.trial, w.host, f"{w.seen_at:%H:%M:%S}") for w in found],
    )
