"""All commands put together, and how a command ends.

Commands import what they need when they run, so that ``ladder --help`` is quick.
"""

import sys
from collections.abc import Sequence

import typer

from ladder.cli import (
    contest,
    database,
    diagnose,
    lease,
    optuna_studies,
    registry,
    results,
    server,
    study,
    trial,
    worker,
)
from ladder.cli.failures import INTERRUPTED, USAGE, explain
from ladder.cli.output import talk
from ladder.cli.plan import plan
from ladder.cli.replay import replay
from ladder.cli.whatif import InOrder, whatif

app = typer.Typer(
    name="ladder",
    help="Hyperparameter search for convolutional networks: studies over HTTP, trials on your workers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(server.up)
app.command("demo")(server.demo)
app.command("open")(server.open_)
app.command("api")(server.api)
app.command("control")(server.control)
app.add_typer(worker.app, name="worker")
app.add_typer(worker.queues, name="queue")
app.add_typer(study.app, name="study")
app.add_typer(trial.app, name="trial")
app.add_typer(lease.app, name="lease")
app.add_typer(contest.app, name="contest")
app.command("best")(results.best)
app.command("rungs")(results.rungs)
app.command("pareto")(results.pareto)
app.command("importance")(results.importance)
app.command("plot")(results.plot)
app.command("compare")(results.compare)
for kind in registry.KINDS:
    app.add_typer(registry.group(kind), name=kind)
app.add_typer(optuna_studies.importing, name="import")
app.add_typer(optuna_studies.exporting, name="export")
app.command("plan")(plan)
app.command("replay")(replay)
app.command("whatif", cls=InOrder)(whatif)
app.add_typer(database.app, name="db")
app.add_typer(database.tokens, name="token")
app.command("doctor")(diagnose.doctor)
app.command("openapi")(diagnose.openapi)
app.command("events")(diagnose.events)
app.command("version")(diagnose.version)
app.command("metrics")(diagnose.metrics)
app.command("explain")(diagnose.explain)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; what can be foreseen to fail is told in a line, without a trace."""
    try:
        result = app(args=None if arguments is None else list(arguments), prog_name="ladder", standalone_mode=False)
    except typer.TyperException as error:
        return _usage(error)
    except (KeyboardInterrupt, typer.Abort):
        talk("interrupted")
        return INTERRUPTED
    except Exception as error:
        told = explain(error)
        if told is None:
            raise
        code, message, hint = told
        talk(f"error: {message}")
        if hint:
            talk(f"  try: {hint}")
        return code
    return result if isinstance(result, int) else 0


def main() -> None:
    """The console script ``ladder``."""
    sys.exit(run())


def _usage(error: typer.TyperException) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # the help page is shown already
        return USAGE
    talk(f"error: {error.format_message()}")
    if context is not None:
        talk(f"  try: {context.command_path} --help")
    return error.exit_code
