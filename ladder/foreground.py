"""A stack in the foreground: it runs until a signal, and what ends by itself is started again."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ladder.errors import StackError
from ladder.process import Process, died
from ladder.stack import LocalStack

POLL_S = 0.2
LONGEST_WAIT_S = 30.0
# The stack decides these itself; all other LADDER_* variables of the operator hold for its parts.
_OWN = frozenset(
    {"URL", "TOKEN", "DATABASE_URL", "REDIS_URL", "HOST", "PORT", "HOME", "QUEUE", "WORKER_NAME", "SLOTS"}
    | {"MAX_IDLE_S"}  # its workers would end and be started again, over and over
)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def operator_env() -> dict[str, str]:
    """The ``LADDER_*`` variables of the environment that the parts of a local stack shall share."""
    own = {f"LADDER_{name}" for name in _OWN}
    return {name: value for name, value in os.environ.items() if name.startswith("LADDER_") and name not in own}


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt in the block; the ones after the first are ignored.

    So a stop that has begun runs to its end: its waits have limits of their own.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def until_stopped(stack: LocalStack, *, ready: Callable[[], None], talk: Callable[[str], None]) -> None:
    """Start the stack, call ``ready``, and run until a signal; then end every part."""
    with signals_interrupt():
        try:
            talk(f"starting in {stack.home.path} …")
            stack.start()
            stack.wait_workers()
            ready()
            keep_up(stack, talk)
        except KeyboardInterrupt:
            talk("stopping …")
        finally:
            stack.stop()


def keep_up(stack: LocalStack, talk: Callable[[str], None]) -> None:
    """Start again whatever ends by itself, with growing waits. Never returns; a signal's exception ends it.

    Raises StackError when Postgres or Redis cannot come back.
    """
    failures: dict[str, int] = {}
    due: dict[Process, float] = {}
    while True:
        time.sleep(POLL_S)
        for engine in (stack.postgres, stack.redis):
            if not engine.running:
                if engine.process is None:
                    raise StackError("the stack has been stopped")
                talk(f"{died(engine.process)}; starting it again")
                engine.start()
        for process in [*stack.api, *stack.control, *stack.workers]:
            if process.alive:
                continue
            if process not in due:
                kind = process.name
                failures[kind] = 0 if process.exit_code == 0 else failures.get(kind, 0) + 1
                wait_s = min(LONGEST_WAIT_S, 2.0 ** failures[kind] - 1)
                due[process] = time.monotonic() + wait_s
                talk(f"{died(process)}; starting it again in {wait_s:g} s")
            elif time.monotonic() >= due[process]:
                del due[process]
                stack.respawn(process)
