"""The command line: one file per noun."""

from ladder.cli.app import main, run

__all__ = ["main", "run"]
