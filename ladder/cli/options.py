"""Options and arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from ladder.cli import completion

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, or JSON Lines, with stable keys.")]
StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="Name or id of the study.", autocompletion=completion.studies)
]
TrialNumber = Annotated[int, typer.Argument(min=0, help="Its number.", autocompletion=completion.trials)]
WorkerName = Annotated[str, typer.Argument(metavar="WORKER", help="Its name.", autocompletion=completion.workers)]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
HomeDir = Annotated[
    Path | None,
    typer.Option("--home", help="Directory of the stack's data (LADDER_HOME, ~/.ladder).", show_default=False),
]
