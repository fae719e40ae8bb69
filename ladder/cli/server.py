"""``ladder up``, ``demo``, ``api`` and ``control``: what runs until it is told to end."""

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ladder.cli import completion
from ladder.cli.options import AsJson, HomeDir
from ladder.cli.output import console, emit, say, talk

if TYPE_CHECKING:
    from hpo.settings import Settings

Port = Annotated[int, typer.Option(min=0, max=65535, help="Port of the API on 127.0.0.1; 0 takes any free one.")]
RootPath = Annotated[
    str | None,
    typer.Option(help="URL prefix that a proxy serves it under (LADDER_ROOT_PATH).", show_default=False),
]
WorkerCount = Annotated[int, typer.Option("--workers", min=0, max=256, help="Worker processes.")]


def up(
    port: Port = 8000,
    workers: WorkerCount = 2,
    queue: Annotated[str, typer.Option(help="Queue of the workers.")] = "cpu",
    data_root: Annotated[Path | None, typer.Option(help="Where data sets lie.", show_default=False)] = None,
    home: HomeDir = None,
    root_path: RootPath = None,
    as_json: AsJson = False,
) -> None:
    """Run everything on this machine until Ctrl-C: Postgres, Redis, API, control and workers. Data are kept."""
    from ladder.foreground import operator_env, until_stopped
    from ladder.home import Home
    from ladder.stack import LocalStack

    where = Home.default().path if home is None else home
    env = operator_env()
    if data_root is not None:
        env["LADDER_DATA_ROOT"] = str(data_root.expanduser().absolute())
    if root_path is not None:
        env["LADDER_ROOT_PATH"] = root_path
    stack = LocalStack(where, port=port, workers=workers, queue=queue, settings_env=env)

    def ready() -> None:
        if as_json:
            emit({"url": stack.url, "home": str(stack.home.path), "workers": len(stack.workers)})
        else:
            say(f"API        {stack.url}")
            say(f"home       {stack.home.path}   logs in {stack.home.logs}")
            say(f"workers    {len(stack.workers)} on queue {queue}")
            say(f"token      in {stack.home.client_file}; `ladder` on this machine finds it by itself")
            say("Ctrl-C stops it; the data stay")
        _tell_login(stack.url, stack.token)

    until_stopped(stack, ready=ready, talk=talk)


def open_(
    study: Annotated[
        str | None,
        typer.Argument(metavar="[STUDY]", help="Its page; else all studies.", autocompletion=completion.studies),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Open the dashboard in a browser; that of the local stack is logged in at once."""
    from ladder.dashboard import open_page
    from ladder.home import connection

    shown = open_page(connection(None, None)[0], study)
    if as_json:
        emit({"url": shown})
    else:
        say(shown)


def demo(
    trials: Annotated[int, typer.Option(min=1, max=1000, help="Trials of the study.")] = 30,
    workers: Annotated[int, typer.Option(min=1, max=64, help="CPU worker processes.")] = 2,
    port: Port = 0,
    exit_: Annotated[bool, typer.Option("--exit", help="End when the study has; else stay up until Ctrl-C.")] = False,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> int:
    """Run a real study of a small CNN on real images, on a stack of its own that leaves nothing behind."""
    from ladder.demo import run

    return run(
        *(trials, workers, port),
        stay=not exit_,
        home=home,
        out=console(),
        as_json=as_json,
        started=_tell_login,
    )


def _tell_login(url: str, token: str) -> None:
    """Only of a stack of this machine: whoever has the line is its administrator."""
    from ladder.dashboard import login_url

    talk(f"dashboard  {login_url(url, token)}")
    talk("           Open it to be logged in. Keep it to yourself: the line holds this stack's admin key.")


def api(
    host: Annotated[str | None, typer.Option(help="Address to listen on (LADDER_HOST).", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="LADDER_PORT.", show_default=False)] = None,
    root_path: RootPath = None,
    as_json: AsJson = False,
) -> int:
    """Run one replica of the API."""
    settings = settings_from(host=host, port=port, root_path=root_path)
    _check_port(settings.host, settings.port)
    from api.main import run_api

    return _run("api", run_api, settings, as_json)


def control(as_json: AsJson = False) -> int:
    """Run one control process: it asks samplers, promotes trials and takes back dead leases."""
    settings = settings_from()
    return _run("control", worker_entry("run_control"), settings, as_json)


def worker_entry(name: str) -> "Callable[[Settings], int]":
    """A function of ``workers.main``, looked up when it is called for.

    The workers import this package's client, so that this package must not import them back.
    """
    entry: Callable[[Settings], int] = getattr(import_module("workers.main"), name)
    return entry


def settings_from(**given: Any) -> "Settings":
    """The process's settings: options, then ``LADDER_*`` variables, then those of this user's running local stack.

    The local stack's are taken only where no variable and no option names another one: its keys must not go elsewhere.
    """
    from pydantic import ValidationError

    from hpo.settings import Settings
    from ladder.errors import LocalError
    from ladder.home import Home, read_json

    chosen = {name: value for name, value in given.items() if value is not None}
    named = {name.upper() for name in chosen} | {name.removeprefix("LADDER_") for name in os.environ}
    if not named & {"URL", "TOKEN", "DATABASE_URL", "REDIS_URL"}:
        local = {k.removeprefix("LADDER_"): v for k, v in read_json(Home.default().stack_file).items()}
        chosen = {**{k.lower(): v for k, v in local.items() if k not in named}, **chosen}
    try:
        return Settings(**chosen)
    except ValidationError as error:
        first = error.errors()[0]
        name = "".join(f"LADDER_{str(part).upper()}: " for part in first["loc"][:1])
        raise LocalError(f"{name}{first['msg']}", "correct the setting") from error


def _run(name: str, run: "Callable[[Settings], int]", settings: "Settings", as_json: bool) -> int:
    code = run(settings)
    if as_json:
        emit({"process": name, "exit_code": code})
    return code


def _check_port(host: str, port: int) -> None:
    import socket

    from ladder.errors import LocalError

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise LocalError(
                f"cannot listen on {host} port {port}: {error.strerror}", "choose another --port"
            ) from error
