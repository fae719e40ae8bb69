"""``ladder study …``."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ladder.cli.confirmation import show_confirmation
from ladder.cli.export import export
from ladder.cli.files import pointing_at, read_spec
from ladder.cli.options import AsJson, StudyName
from ladder.cli.output import console, emit, emit_lines, fields, number, params, say, table, talk
from ladder.cli.plan import show_plan

if TYPE_CHECKING:
    from api.schemas.studies import StudyRead
    from ladder.client import Client
    from ladder.specfile import SpecFile

app = typer.Typer(help="Create, watch and steer studies.", no_args_is_help=True)
app.command()(export)


@app.command()
def create(
    file: Annotated[Path, typer.Option("--file", "-f", help="The study in YAML; - reads stdin.", show_default=False)],
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a field.")] = None,
    warm_start: Annotated[
        list[str] | None,
        typer.Option("--warm-start", metavar="STUDY", help="Begin with what this study knows; may be repeated."),
    ] = None,
    warm_start_optuna: Annotated[
        str | None,
        typer.Option(
            metavar="URL[#NAME]",
            help="Begin with the trials of an Optuna study, read here: a URL or a journal file.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check it and show its rungs; store nothing.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Then watch it until it ends.")] = False,
    as_json: AsJson = False,
) -> int:
    """Create a study from a YAML file, and start it."""
    from ladder.client import Client
    from ladder.specfile import override

    spec = read_spec(file)
    for assignment in set_ or ():
        override(spec.data, assignment)
    _start_warm(spec, warm_start or (), warm_start_optuna)
    with Client() as client:
        if dry_run:
            show_plan(client, spec, as_json=as_json)
            return 0
        with pointing_at(spec):
            made = client.studies.create(spec.data)
        if watch:
            talk(f"created study {made.name} ({made.id})")
            return _watch(client, made.id, as_json)
        if as_json:
            emit(made.info)
        else:
            say(f"{made.name}  {made.info.state}  {made.id}")
            talk(f"  watch it: ladder study watch {made.name}")
    return 0


@app.command("ls")
def ls(
    state: Annotated[str | None, typer.Option(help="Only studies in this state.", show_default=False)] = None,
    label: Annotated[str | None, typer.Option(metavar="KEY:VALUE", help="Only with this label.")] = None,
    confirmations: Annotated[bool, typer.Option("--confirmations", help="Also those that confirm others.")] = False,
    as_json: AsJson = False,
) -> None:
    """List studies."""
    from ladder.client import Client

    with Client() as client:
        found = client.studies.list(state=state, label=label, confirmations=confirmations)
    if as_json:
        return emit_lines(found)
    columns = ("name", "state", "trials", "running", "best", "created")
    table(columns, [_summary(study) for study in found])


@app.command()
def get(study: StudyName, as_json: AsJson = False) -> None:
    """Show a study."""
    from ladder.client import Client

    with Client() as client:
        _show(client.studies.read(study), as_json)


@app.command()
def watch(study: StudyName, as_json: AsJson = False) -> int:
    """Watch a study until it ends and is confirmed if it asks for that: exit 0 if it finished, else 1."""
    from ladder.client import Client

    with Client() as client:
        return _watch(client, study, as_json)


@app.command()
def wait(
    study: StudyName,
    for_: Annotated[
        str, typer.Option("--for", metavar="TARGET", help="ended, finished, goal, confirmed or trials=N.")
    ] = "ended",
    timeout: Annotated[str | None, typer.Option(help="Such as 90s, 15m, 2h.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Wait without a word until a study has come so far: exit 5 if it did not in time, or never will."""
    from ladder.client import Client
    from ladder.study import seconds
    from ladder.targets import Target

    try:
        Target.parse(for_)
        limit_s = None if timeout is None else seconds(timeout)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with Client() as client:
        waited = client.studies.get(study).wait(timeout=limit_s, until=for_)
        _show(waited.info, as_json)


@app.command()
def pause(study: StudyName, as_json: AsJson = False) -> None:
    """Checkpoint what runs and free the devices."""
    _act(study, "pause", as_json)


@app.command()
def resume(study: StudyName, as_json: AsJson = False) -> None:
    """Go on with a paused study."""
    _act(study, "resume", as_json)


@app.command()
def start(study: StudyName, as_json: AsJson = False) -> None:
    """Start a study that was created with start: false."""
    _act(study, "start", as_json)


@app.command()
def stop(study: StudyName, as_json: AsJson = False) -> None:
    """Begin nothing new; what runs ends at its rung."""
    _act(study, "stop", as_json)


@app.command()
def cancel(study: StudyName, as_json: AsJson = False) -> None:
    """End a study now."""
    _act(study, "cancel", as_json)


def _start_warm(spec: "SpecFile", studies: Sequence[str], optuna_url: str | None) -> None:
    """Merge what the options name into the spec's ``warm_start``. Raises LocalError."""
    if not studies and optuna_url is None:
        return
    from ladder.errors import LocalError

    warm = spec.data.get("warm_start") or {}
    lists = [warm.get(name) or [] for name in ("studies", "trials")] if isinstance(warm, dict) else []
    if not lists or not all(isinstance(one, list) for one in lists):
        raise LocalError(f"{spec.name}: warm_start is a mapping with lists, got {warm!r}")
    warm["studies"] = [*lists[0], *studies]
    if optuna_url is not None:
        from ladder.cli.extras import need

        need("--warm-start-optuna", ("optuna",))
        from ladder.optuna_trials import warm_trials

        warm["trials"] = [*lists[1], *warm_trials(optuna_url, _direction(spec))]
    spec.data["warm_start"] = warm


def _direction(spec: "SpecFile") -> str:
    from ladder.errors import LocalError

    match spec.data.get("objectives"):
        case [{"direction": "maximize" | "minimize" as direction}, *_]:
            return str(direction)
    raise LocalError(f"{spec.name}: the first of its objectives has no direction", "direction: maximize, or minimize")


def _watch(client: "Client", study: str, as_json: bool) -> int:
    from ladder.watch import show

    last = show(client, study, out=console(), as_json=as_json)
    if last.study.confirmation is not None and not as_json:
        show_confirmation(last.study.confirmation)
    talk(
        f"study {last.study.name} {last.study.state}"
        + (f": {last.study.state_reason}" if last.study.state_reason else "")
    )
    return 0 if last.succeeded else 1


def _act(study: str, verb: str, as_json: bool) -> None:
    from ladder.client import Client

    with Client() as client:
        _show(getattr(client.studies, verb)(study), as_json)


def _summary(info: "StudyRead") -> tuple[object, ...]:
    best = None if info.best is None else number(info.best.value)
    trials = sum(info.counts.model_dump().values())
    return info.name, info.state, trials, info.counts.running, best, f"{info.created_at:%Y-%m-%d %H:%M}"


def _confirmation(info: "StudyRead") -> str | None:
    found = info.confirmation
    if found is None:
        return None
    return f"{found.state} by {found.study}" if found.reason is None else f"{found.state}: {found.reason}"


def _show(info: "StudyRead", as_json: bool) -> None:
    if as_json:
        return emit(info)
    fields(
        {
            "name": info.name,
            "id": info.id,
            "state": f"{info.state}" + (f" ({info.state_reason})" if info.state_reason else ""),
            "objective": f"{info.objective.direction} {info.objective.metric}",
            "trainer": f"{info.trainer.name} {json.dumps(info.trainer.config)}",
            "sampler": info.sampler.type,
            "scheduler": info.scheduler.type,
            "trials": " ".join(f"{name} {count}" for name, count in info.counts.model_dump().items()),
            "best": f"{number(info.best.value)} trial {info.best.number}: {params(info.best.params)}"
            if info.best
            else None,
            "confirmation": _confirmation(info),
            "usage": f"{info.usage.epochs} epochs, {info.usage.gpu_hours:.2f} device hours",
            "created": info.created_at,
            "finished": info.finished_at,
            **{f"{c.type}": c.message for c in info.conditions if not c.status},
        }
    )
