"""Options and arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, or JSON Lines, with stable keys.")]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Name or id of the study.")]
HomeDir = Annotated[
    Path | None,
    typer.Option("--home", help="Directory of the stack's data (LADDER_HOME, ~/.ladder).", show_default=False),
]
