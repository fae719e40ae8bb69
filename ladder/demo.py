"""``ladder demo``: a real study on real images, on a stack of its own that leaves nothing behind."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ladder.cli.output import emit, params, talk
from ladder.client import Client
from ladder.errors import LocalError, StackError
from ladder.foreground import keep_up, operator_env, signals_interrupt
from ladder.specfile import parse
from ladder.stack import LocalStack
from ladder.targets import unconfirmed
from ladder.watch import show

STUDY_FILE = Path(__file__).with_name("demo_study.yaml")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the demo has found, and what pruning has saved."""

    study: str
    state: str
    trials: int
    best_trial: int
    params: dict[str, Any]
    search_value: float
    mean: float
    ci95: float | None
    gap: float
    test_acc: float
    test_images: int
    epochs: int
    epochs_without_pruning: int
    seconds: float
    url: str


def run(
    trials: int,
    workers: int,
    port: int,
    *,
    stay: bool,
    home: Path | None,
    out: Console,
    as_json: bool,
    started: Callable[[str, str], None],
) -> int:
    """Run the demo; its exit code. ``home`` keeps the data, None puts them in a temporary directory.

    ``started`` is told the stack's address and its admin key once it runs.
    """
    shown = Console(stderr=True) if as_json else out
    started_at = time.monotonic()
    with signals_interrupt(), ExitStack() as cleanup:
        where = cleanup.enter_context(_temporary_home()) if home is None else home
        stack = LocalStack(where, port=port, workers=workers, settings_env=operator_env())
        cleanup.callback(stack.stop)
        talk(f"starting Postgres, Redis, API, control and {workers} workers in {stack.home.path} …")
        try:
            stack.start()
            stack.wait_workers()
        except StackError as error:
            raise StackError(error.message, "`ladder demo --home DIR` keeps the logs") from error
        started(stack.url, stack.token)
        with Client(stack.url, stack.token) as client:
            made = client.studies.create(_spec(client, trials))
            last = show(client, made.id, out=shown)
            if not last.succeeded:
                reason = unconfirmed(last.study) or last.study.state_reason
                raise LocalError(
                    f"study {made.name} {last.study.state}: {reason}", f"see {stack.home.logs}, kept with --home"
                )
            plan = client.studies.plan(_spec(client, trials))
            found = client.studies.confirmed(made.id)
        best, test = found.recommendation, found.test
        if best is None or best.mean is None or best.gap is None or test is None or test.acc is None:
            raise LocalError(f"study {made.name} is confirmed by nothing: {found.reason}")
        outcome = Outcome(
            study=made.name,
            state=str(last.study.state),
            trials=sum(last.study.counts.model_dump().values()),
            best_trial=best.trial,
            params=best.params,
            search_value=best.search_value,
            mean=best.mean,
            ci95=best.ci95,
            gap=best.gap,
            test_acc=test.acc,
            test_images=test.images or 0,
            epochs=last.study.usage.epochs,
            epochs_without_pruning=plan.epochs_without_pruning,
            seconds=time.monotonic() - started_at,
            url=stack.url,
        )
        if as_json:
            emit(asdict(outcome))
        else:
            _tell(outcome, out)
        if stay:
            _stay(stack)
    return 0


def _spec(client: Client, trials: int) -> dict[str, Any]:
    """The study of examples/digits-asha.yaml, under a name that is still free where a home is used again."""
    spec = parse(STUDY_FILE.read_text(), STUDY_FILE.name).data
    taken = {study.name for study in client.studies.list()}
    names = [spec["name"], *(f"{spec['name']}-{number}" for number in range(2, len(taken) + 3))]
    spec["name"] = next(name for name in names if name not in taken)
    spec["budget"]["max_trials"] = trials
    return spec


def _tell(outcome: Outcome, out: Console) -> None:
    share = outcome.epochs / outcome.epochs_without_pruning
    kept = f"{outcome.mean:.4f}" + ("" if outcome.ci95 is None else f" ± {outcome.ci95:.4f}")
    lines = {
        "trials": f"{outcome.trials}, study {outcome.state} in {outcome.seconds:.0f} s with the start of the stack",
        "best": f"trial {outcome.best_trial}: {params(outcome.params)}",
        "validation": f"accuracy {outcome.search_value:.4f} in the search, {kept} trained anew",
        "test": f"accuracy {outcome.test_acc:.4f} on {outcome.test_images} images that nothing had seen before",
        "epochs": f"{outcome.epochs} spent, {outcome.epochs_without_pruning} without pruning: {share:.0%}",
        "API": f"{outcome.url}  (schema: {outcome.url}/api/v1/openapi.json)",
    }
    out.print()
    for name, text in lines.items():
        out.print(f"{name:<12}{text}", highlight=False, markup=False)


def _stay(stack: LocalStack) -> None:
    talk(f"still up: LADDER_HOME={stack.home.path} ladder study ls. Ctrl-C ends it")
    try:
        keep_up(stack, talk)
    except KeyboardInterrupt:
        talk("stopping …")


@contextmanager
def _temporary_home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="ladder-demo-"))
    try:
        yield home
    finally:
        shutil.rmtree(home)
