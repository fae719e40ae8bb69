"""Work that would hold up a process for seconds: done in a child of its own, which may be killed."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TypeVar

T = TypeVar("T")
NICENESS = 10  # what is computed on the side waits for what is computed to go on

_spawn = multiprocessing.get_context("spawn")  # a fork would copy locks that other threads hold


class Failed(Exception):
    """The child raised, died or was too slow; the message says which, for people."""


def apart(work: Callable[[], T], *, timeout_s: float) -> T:
    """What ``work``, which must be picklable as its result must be, returns in a fresh process. Raises Failed.

    The child ends with this process, whatever it is at.
    """
    ours, theirs = _spawn.Pipe(duplex=False)
    child = _spawn.Process(target=_run, args=(work, theirs), name="apart", daemon=True)
    child.start()
    theirs.close()
    try:
        if not ours.poll(timeout_s):
            raise Failed(f"took longer than {timeout_s:.0f} s")
        found, error = ours.recv()
    except EOFError:
        child.join()
        raise Failed(f"the process that computed it ended with exit code {child.exitcode}") from None
    finally:
        child.kill()
        child.join()
        ours.close()
    if error is not None:
        raise Failed(error)
    result: T = found
    return result


def _run(work: Callable[[], T], answer: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the parent ends this process
    os.nice(NICENESS)
    try:
        found = work()
    except Exception as error:
        # Told to whoever asked; nobody reads the output of this process.
        answer.send((None, f"{type(error).__name__}: {error}"))
    else:
        answer.send((found, None))
