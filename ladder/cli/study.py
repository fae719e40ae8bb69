"""``ladder study …``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ladder.cli import completion, verbs
from ladder.cli.confirmation import show_confirmation
from ladder.cli.export import export
from ladder.cli.files import pointing_at, read_spec
from ladder.cli.options import AsJson, StudyName
from ladder.cli.output import console, emit, emit_lines, number, say, table, talk
from ladder.cli.plan import show_plan
from ladder.cli.show import show_study

if TYPE_CHECKING:
    from api.schemas.studies import StudyRead
    from ladder.client import Client
    from ladder.specfile import SpecFile

app = typer.Typer(help="Create, watch and steer studies.", no_args_is_help=True)
app.command()(export)
for verb in verbs.VERBS:
    app.command()(verb)


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
    state: Annotated[
        str | None,
        typer.Option(help="Only studies in this state.", show_default=False, autocompletion=completion.study_states),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Only with this in their name.", show_default=False)] = None,
    label: Annotated[str | None, typer.Option(metavar="KEY:VALUE", help="Only with this label.")] = None,
    archived: Annotated[bool, typer.Option("--archived", help="Also those that are archived.")] = False,
    confirmations: Annotated[bool, typer.Option("--confirmations", help="Also those that confirm others.")] = False,
    order_by: Annotated[
        str | None, typer.Option(help="updated_at, name or created_at; - before it turns it round.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List studies."""
    from ladder.client import Client

    with Client() as client:
        found = client.studies.list(
            state=state, label=label, name=name, archived=archived, confirmations=confirmations, order_by=order_by
        )
    if as_json:
        return emit_lines(found)
    columns = ("name", "state", "trials", "running", "best", "created")
    table(columns, [_summary(study) for study in found])


@app.command()
def get(study: StudyName, as_json: AsJson = False) -> None:
    """Show a study."""
    from ladder.client import Client

    with Client() as client:
        show_study(client.studies.read(study), as_json)


@app.command()
def watch(study: StudyName, as_json: AsJson = False) -> int:
    """Watch a study until it ends and is confirmed if it asks for that: exit 0 if it finished, else 1."""
    from ladder.client import Client

    with Client() as client:
        return _watch(client, study, as_json)


@app.command()
def events(
    study: StudyName,
    after: Annotated[int | None, typer.Option(min=0, help="Only past this event.", show_default=False)] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the study has ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the log of a study: what happened, in order."""
    from ladder.client import Client
    from ladder.watch_view import event_line

    with Client() as client:
        for event in client.studies.events(study, after=after, follow=follow):
            if as_json:
                emit(event)
            else:
                say(event_line(event))


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
        show_study(waited.info, as_json)


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


def _summary(info: "StudyRead") -> tuple[object, ...]:
    best = None if info.best is None else number(info.best.value)
    trials = sum(info.counts.model_dump().values())
    return info.name, info.state, trials, info.counts.running, best, f"{info.created_at:%Y-%m-%d %H:%M}"
