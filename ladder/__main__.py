"""``python -m ladder``: the command line, for where the console script is not on the path."""

from ladder.cli import main

main()
