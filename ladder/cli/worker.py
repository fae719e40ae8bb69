"""``ladder worker`` runs one; ``ladder worker ls``, ``drain`` and the like are about all; ``ladder queue ls``."""

from typing import TYPE_CHECKING, Annotated

import typer

from ladder.cli.options import AsJson, WorkerName, Yes
from ladder.cli.output import emit, emit_lines, fields, number, say, table
from ladder.cli.verbs import confirm

if TYPE_CHECKING:
    from api.schemas.workers import WorkerRead

app = typer.Typer(help="Run a worker, or look at and drain those that run.", invoke_without_command=True)
queues = typer.Typer(help="The queues that workers serve.", no_args_is_help=True)


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
    max_idle: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="End once there was no trial for so long, such as 60s, 10m (LADDER_MAX_IDLE_S).",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Train trials of a queue until told to stop, or idle for --max-idle; SIGTERM hands the trial back and exits 0."""
    if context.invoked_subcommand is not None:
        return 0
    from ladder.cli.server import settings_from, worker_entry
    from ladder.study import seconds

    try:
        max_idle_s = None if max_idle is None else seconds(max_idle)
    except ValueError as error:
        raise typer.BadParameter(f"--max-idle: {error}") from error
    if max_idle_s == 0:
        raise typer.BadParameter(f"--max-idle: want more than 0 s, got {max_idle!r}")
    settings = settings_from(queue=queue, slots=slots, url=url, token=token, worker_name=name, max_idle_s=max_idle_s)
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


@app.command()
def get(worker: WorkerName, as_json: AsJson = False) -> None:
    """Show a worker and what it measured."""
    from ladder.client import Client

    with Client() as client:
        found = client.workers.get(worker)
    _show(found, as_json)


@app.command()
def drain(worker: WorkerName, as_json: AsJson = False) -> None:
    """Have a worker end its epoch, save, hand its trial back and exit."""
    from ladder.client import Client

    with Client() as client:
        _show(client.workers.drain(worker), as_json)


@app.command()
def resume(worker: WorkerName, as_json: AsJson = False) -> None:
    """Take a drain back that the worker has not heard of yet."""
    from ladder.client import Client

    with Client() as client:
        _show(client.workers.resume(worker), as_json)


@app.command()
def rm(worker: WorkerName, yes: Yes = False, as_json: AsJson = False) -> None:
    """Forget a lost worker. Asks for its name unless --yes."""
    from ladder.client import Client

    if not yes:
        confirm(f"worker {worker} from the list", worker)
    with Client() as client:
        client.workers.delete(worker)
    if as_json:
        return emit({"name": worker, "deleted": True})
    say(f"forgot {worker}")


@queues.callback()
def _queues() -> None:
    """The queues that workers serve."""


@queues.command("ls")
def ls_queues(as_json: AsJson = False) -> None:
    """List the queues: their workers, what these train, and what waits for them."""
    from ladder.client import Client

    with Client() as client:
        found = client.queues.list()
    if as_json:
        return emit_lines(found)
    rows = [
        (q.name, q.workers, q.idle, q.draining, q.lost, q.running, q.waiting, number(q.oldest_wait_s)) for q in found
    ]
    table(("queue", "workers", "idle", "draining", "lost", "running", "waiting", "oldest wait s"), rows)


def _show(info: "WorkerRead", as_json: bool) -> None:
    if as_json:
        return emit(info)
    stats = {name: value for name, value in info.stats.model_dump().items() if value is not None}
    fields(
        {
            "name": info.name,
            "state": info.state,
            "queue": info.queue,
            "device": info.device,
            "trial": info.trial,
            "host": info.host,
            "started": info.started_at,
            "seen": info.seen_at,
            **stats,
        }
    )
