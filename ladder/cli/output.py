"""Where commands write: data on stdout, talk on stderr."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

WIDE = 1000  # characters: a pipe has no width, so nothing is folded or cut


def console() -> "Console":
    """stdout as rich sees it: colour and animation only on a terminal, and not with NO_COLOR."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=WIDE, color_system=None, force_terminal=False)


def talk(text: str) -> None:
    """Say something to the person, not to the program that reads stdout."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def emit(value: "BaseModel | dict[str, Any]") -> None:
    """One JSON object on one line."""
    say(json.dumps(value if isinstance(value, dict) else value.model_dump(mode="json")))


def emit_lines(values: "Iterable[BaseModel | dict[str, Any]]") -> None:
    """JSON Lines."""
    for value in values:
        emit(value)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table without borders; an empty cell is a dash."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text("-" if cell is None or cell == "" else str(cell)) for cell in row))
    console().print(drawn)


def fields(values: dict[str, object]) -> None:
    """Name and value, one per line."""
    table(("", ""), values.items())


def number(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"


def params(values: dict[str, Any]) -> str:
    return " ".join(f"{name}={number(value) if isinstance(value, float) else value}" for name, value in values.items())


@contextmanager
def advancing(what: str, total: int | None = None) -> Iterator[Callable[[], None]]:
    """A progress bar on stderr, moved by a call per item; without a terminal, or with NO_COLOR, a line says what is
    done."""
    if not sys.stderr.isatty() or os.environ.get("NO_COLOR"):
        talk(what)
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*shown, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)
