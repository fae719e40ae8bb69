"""A child process of the local stack: its own process group, a log file, and an end no later than its parent's."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ladder.errors import StackError

_EXEC_CHILD = Path(__file__).with_name("exec_child.py")
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Process:
    """A running child. ``pgid`` equals ``pid``: signals to the group reach what it has forked, too."""

    name: str
    popen: "subprocess.Popen[bytes]"
    log: Path | None

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def pgid(self) -> int:
        return self.popen.pid

    @property
    def exit_code(self) -> int | None:
        """Minus the signal's number if a signal ended it; None while it runs."""
        return self.popen.poll()

    @property
    def alive(self) -> bool:
        return self.exit_code is None

    def send(self, number: signal.Signals) -> None:
        """Send to the process alone; nothing happens if it has ended."""
        self.popen.send_signal(number)

    def send_group(self, number: signal.Signals) -> None:
        if self.alive:
            os.killpg(self.pgid, number)

    def wait(self, timeout_s: float) -> int:
        """Its exit code. Raises StackError if it still runs after ``timeout_s``."""
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise StackError(f"{self.name} (pid {self.pid}) still runs after {timeout_s:g} s") from error

    def stop(self, number: signal.Signals = signal.SIGTERM, *, timeout_s: float) -> int:
        """Ask it to end, kill the group after ``timeout_s``; its exit code."""
        self.send(number)
        self.send(signal.SIGCONT)  # a stopped process would never see the other signal
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """kill -9 of the whole group; its exit code."""
        self.send_group(signal.SIGKILL)
        return self.popen.wait()

    def last_words(self, lines: int = 1) -> str:
        """The end of its log, without the hints that ``ladder`` commands add to an error."""
        if self.log is None or not self.log.exists():
            return ""
        text = self.log.read_bytes()[-8192:].decode(errors="replace").strip()
        return "\n".join([line for line in text.splitlines() if not line.startswith("  try: ")][-lines:])


def spawn(
    name: str,
    command: Sequence[str],
    *,
    log: Path | None,
    env: Mapping[str, str],
    death_signal: signal.Signals = signal.SIGKILL,
    user: str | None = None,
) -> Process:
    """Start ``command`` with its output appended to ``log`` (None: the terminal), as ``user`` if given.

    Call it from the main thread: the child gets ``death_signal`` when the calling thread ends.
    """
    wrapper = (sys.executable, "-I", "-S", str(_EXEC_CHILD), str(int(death_signal)), str(os.getpid()), user or "-")
    output: IO[bytes] | None = None if log is None else log.open("ab")
    try:
        popen = subprocess.Popen(
            [*wrapper, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            env=dict(env),
            start_new_session=True,  # Ctrl-C in the terminal reaches the stack only, which ends its parts in order
        )
    finally:
        if output is not None:
            output.close()
    return Process(name, popen, log)


def wait_until(condition: Callable[[], bool], what: str, *, timeout_s: float, alive: Sequence[Process] = ()) -> None:
    """Poll until ``condition`` holds. Raises StackError when time is up or one of ``alive`` ends before."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        for process in alive:
            if not process.alive:
                raise StackError(died(process), f"see {process.log}" if process.log else "")
        if time.monotonic() >= deadline:
            logs = ", ".join(str(process.log) for process in alive if process.log)
            raise StackError(f"{what}: not after {timeout_s:g} s", f"see {logs}" if logs else "")
        time.sleep(POLL_S)


def died(process: Process) -> str:
    """One line on how a process ended, with the end of its log."""
    words = process.last_words()
    return f"{process.name} ended with exit code {process.exit_code}" + (f": {words}" if words else "")
