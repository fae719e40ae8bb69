"""What is done to a study: ``ladder study pause``, ``extend``, ``rm`` and the like."""

import sys
from typing import Annotated, Any

import typer

from ladder.cli.options import AsJson, StudyName, Yes
from ladder.cli.output import emit, say, talk
from ladder.cli.show import show_study


def start(study: StudyName, as_json: AsJson = False) -> None:
    """Start a study that was created with start: false."""
    _act(study, "start", as_json)


def pause(study: StudyName, as_json: AsJson = False) -> None:
    """Checkpoint what runs and free the devices."""
    _act(study, "pause", as_json)


def resume(study: StudyName, as_json: AsJson = False) -> None:
    """Go on with a paused study."""
    _act(study, "resume", as_json)


def stop(study: StudyName, as_json: AsJson = False) -> None:
    """Begin nothing new; what runs ends at its rung."""
    _act(study, "stop", as_json)


def cancel(study: StudyName, as_json: AsJson = False) -> None:
    """End a study now."""
    _act(study, "cancel", as_json)


def archive(study: StudyName, as_json: AsJson = False) -> None:
    """Leave an ended study out of lists."""
    _act(study, "archive", as_json)


def unarchive(study: StudyName, as_json: AsJson = False) -> None:
    """Bring an archived study back into lists."""
    _act(study, "unarchive", as_json)


def extend(
    study: StudyName,
    trials: Annotated[int | None, typer.Option(min=1, help="New max_trials.", show_default=False)] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="New max_epochs.", show_default=False)] = None,
    wall: Annotated[
        str | None, typer.Option(metavar="DURATION", help="New max_wall_s, such as 12h.", show_default=False)
    ] = None,
    gpu_hours: Annotated[float | None, typer.Option(min=0, help="New max_gpu_hours.", show_default=False)] = None,
    failed: Annotated[int | None, typer.Option(min=0, help="New max_failed.", show_default=False)] = None,
    concurrent: Annotated[int | None, typer.Option(min=1, help="New max_concurrent.", show_default=False)] = None,
    n_full: Annotated[
        int | None, typer.Option("--n-full", min=1, help="New n_full of its scheduler.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Raise the budget of a study; a finished one goes on."""
    from ladder.client import Client
    from ladder.study import seconds

    given = {"max_trials": trials, "max_epochs": epochs, "max_gpu_hours": gpu_hours, "max_failed": failed}
    budget: dict[str, float | None] = {name: value for name, value in given.items() if value is not None}
    if concurrent is not None:
        budget["max_concurrent"] = concurrent
    if wall is not None:
        try:
            budget["max_wall_s"] = seconds(wall)
        except ValueError as error:
            raise typer.BadParameter(f"--wall: {error}") from error
    if not budget and n_full is None:
        raise typer.BadParameter("say what to raise, for example --trials 200")
    with Client() as client:
        show_study(client.studies.extend(study, n_full=n_full, **budget), as_json)


def clone(
    study: StudyName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the new study.", show_default=False)],
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change a field.")] = None,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Whether it begins at once.")] = True,
    as_json: AsJson = False,
) -> None:
    """Create a study like another one, with changes."""
    from ladder.client import Client

    with Client() as client:
        made = client.studies.clone(study, name, changes=changes(set_), start=start)
        show_study(made.info, as_json)


def patch(
    study: StudyName,
    set_: Annotated[
        list[str], typer.Option("--set", metavar="PATH=VALUE", help="Such as budget.max_trials=200, labels={team: a}.")
    ],
    as_json: AsJson = False,
) -> None:
    """Change budget, labels, description or search space of a study."""
    from ladder.client import Client

    given = changes(set_)
    with Client() as client:
        show_study(client.studies.patch(study, given), as_json)


def rm(
    study: StudyName,
    yes: Yes = False,
    force: Annotated[bool, typer.Option("--force", help="Also if it runs: it is cancelled first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a study with its trials, checkpoints and logs. Asks for its name unless --yes."""
    from ladder.client import Client

    with Client() as client:
        if not yes:
            info = client.studies.read(study)
            confirm(f"study {info.name} with {sum(info.counts.model_dump().values())} trials", info.name)
        deleted = client.studies.delete(study, force=force)
    if as_json:
        return emit(deleted)
    say(f"deleted {deleted.name}")


VERBS = (start, pause, resume, stop, cancel, extend, clone, patch, archive, unarchive, rm)


def confirm(what: str, name: str) -> None:
    """Have the user type the name of what shall be deleted. Raises Abort if it is another, BadParameter unattended."""
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{what} would be deleted: say --yes, since nobody can be asked here")
    talk(f"This deletes {what} for good.")
    if typer.prompt(f"Type {name} to go on", err=True, default="", show_default=False) != name:
        raise typer.Abort


def changes(assignments: list[str] | None) -> dict[str, Any]:
    """The part of a spec that ``--set`` options make. Raises LocalError."""
    from ladder.specfile import override

    made: dict[str, Any] = {}
    for assignment in assignments or ():
        override(made, assignment)
    return made


def _act(study: str, verb: str, as_json: bool) -> None:
    from ladder.client import Client

    with Client() as client:
        show_study(getattr(client.studies, verb)(study), as_json)
