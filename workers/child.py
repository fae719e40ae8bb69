"""The worker's side of a trainer child: spawn it, talk to it over pipes, kill its whole process group."""

import os
import queue
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import IO, Any, BinaryIO

import structlog

from api.schemas.logs import Stream
from workers.logbook import Lines
from workers.protocol import MAX_LINE_BYTES, TAIL_BYTES, Order, Ready, Said, said

log = structlog.get_logger(__name__)

Printed = Callable[[Stream, str], None]
TRAINER = (sys.executable, "-m", "workers.trainer")
READ_BYTES = 1 << 16  # what a pipe holds
MOST_READS = 16  # at a switch: something that prints without end must not hold up the end of its run
MAX_GARBAGE_LINES = 100  # a child that says more nonsense than this is not one of ours

# Trial code runs in the child, so it is given what it needs by name, and never a token, a URL or a password.
_KEPT = frozenset(
    {"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "XDG_CACHE_HOME"}
    | {"LADDER_TRAINERS"}
)
_KEPT_PREFIXES = ("LC_", "PYTHON", "CUDA_", "NVIDIA_", "NCCL_", "TORCH", "PYTORCH_", "OMP_", "MKL_", "KMP_", "CUBLAS_")


@dataclass(frozen=True, slots=True)
class Gone:
    """The child has ended: ``code`` is its exit status, negative for the signal that killed it."""

    code: int
    stderr: str


def environment(parent: Mapping[str, str], threads: int) -> dict[str, str]:
    """What a child's process may know of its worker's environment, and the number of threads it may use."""
    kept = {name: value for name, value in parent.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    count = str(threads)
    return {
        **kept,
        # More threads than cores / slots collapse: 335 images/s for two children with two threads each on two cores,
        # 5,334 with one each (TRAINING.md).
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        # glibc gives large blocks back to the system at every free; keeping them is worth 40 % on small networks.
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
        "MALLOC_TOP_PAD_": str(64 << 20),
        "PYTHONUNBUFFERED": "1",
    }


class Child:
    """One trainer process in its own session. All that happens to it arrives in ``inbox``, Gone last.

    Create it on a thread that lives as long as this process: the kernel kills a child when the *thread* that spawned
    it ends.
    """

    def __init__(self, env: Mapping[str, str], command: Sequence[str] = TRAINER) -> None:
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.runs = 0
        self.ready = Event()  # set when it is ready, when it has died first, or when nobody waits any more
        self.is_ready = False
        self.gone: Gone | None = None
        self._lock = Lock()  # between signals and the reaping
        self._sending = Lock()  # apart from it: a child that reads nothing must not hold up its own end
        self._reaped = False
        orders, self._orders_fd = os.pipe()
        answers_fd, answers = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*command, str(orders), str(answers), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(orders, answers),
                start_new_session=True,
                env=dict(env),
            )
        finally:
            os.close(orders)
            os.close(answers)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._output = _Output(self._process.stdout, self._process.stderr)
        self._readers = (
            Thread(target=self._listen, args=(os.fdopen(answers_fd, "rb"),), name="child-answers", daemon=True),
            Thread(target=self._output.read, name="child-output", daemon=True),
        )
        self._ender = Thread(target=self._await_end, name="child-end", daemon=True)
        for thread in (*self._readers, self._ender):
            thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self.gone is None

    @property
    def stderr_tail(self) -> str:
        """The end of what it printed, on either stream."""
        return self._output.tail

    def printed_to(self, told: Printed | None) -> None:
        """Tell ``told`` every line that it prints from here on; what it has printed before goes to who was told then.

        ``told`` is called on another thread, or within this call.
        """
        self._output.switch(told)

    def send(self, order: Order) -> None:
        """Hand over an order. If the child is dead nothing happens: Gone is, or will be, in the inbox."""
        line = memoryview(order.line())
        with self._sending:
            try:
                while line and not self._reaped:
                    line = line[os.write(self._orders_fd, line) :]
            except BrokenPipeError:
                log.info("order_to_dead_child", pid=self.pid)

    def kill(self) -> None:
        """SIGKILL the whole group; the child and all that it started end at once."""
        self._signal(signal.SIGKILL)

    def wait(self) -> None:
        """Until it has ended and ``gone`` says how."""
        self._ender.join()

    def freeze(self) -> None:
        """Stop it where it is, until ``thaw``."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:  # once it is reaped, its number may belong to somebody else
            if not self._reaped:
                os.killpg(self.pid, number)

    def _listen(self, answers: BinaryIO) -> None:
        garbage = 0
        with answers:
            while line := answers.readline(MAX_LINE_BYTES):
                message: Said | None = said(line)
                if message is None:
                    garbage += 1
                    if garbage == MAX_GARBAGE_LINES:
                        log.error("child_speaks_garbage", pid=self.pid, lines=garbage)
                        break
                elif isinstance(message, Ready):
                    self.is_ready = True
                    self.ready.set()
                else:
                    self.inbox.put(message)
        self.kill()  # without its pipe it is of no use

    def _await_end(self) -> None:
        # The exit is seen without reaping, so that the group can still be named by the dead leader's number: what
        # trial code has started ends with it.
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self.kill()
        with self._lock:
            code = self._process.wait()
            self._reaped = True
        with self._sending:
            os.close(self._orders_fd)
        for thread in self._readers:
            thread.join(timeout=2)  # a process that left the group may still hold the pipes: do not wait for it
        self.gone = Gone(code, self.stderr_tail)
        self.ready.set()
        self.inbox.put(self.gone)


class _Output:
    """What a child prints, read at all times so that it is never held up by it."""

    def __init__(self, out: IO[bytes], err: IO[bytes]) -> None:
        self._pipes: dict[Stream, IO[bytes]] = {"out": out, "err": err}
        self._lines: dict[Stream, Lines] = {"out": Lines(), "err": Lines()}
        self._told: Printed | None = None
        self._tail = bytearray()
        self._lock = Lock()
        for pipe in self._pipes.values():
            os.set_blocking(pipe.fileno(), False)

    @property
    def tail(self) -> str:
        with self._lock:
            return bytes(self._tail).decode(errors="replace").replace("\x00", "")

    def read(self) -> None:
        """Until both pipes have ended."""
        with selectors.DefaultSelector() as selector:
            for stream, pipe in self._pipes.items():
                selector.register(pipe, selectors.EVENT_READ, stream)
            while selector.get_map():
                for key, _ in selector.select():
                    with self._lock:
                        if self._take(key.data) == b"":
                            selector.unregister(key.fileobj)
        with self._lock:
            self._end_lines()
            for pipe in self._pipes.values():
                pipe.close()

    def switch(self, told: Printed | None) -> None:
        with self._lock:
            # What lies in the pipes was printed before: an idle child prints nothing more until it is told to train.
            for stream, pipe in self._pipes.items():
                for _ in range(MOST_READS):
                    if pipe.closed or not self._take(stream):
                        break
            self._end_lines()
            self._told = told

    def _take(self, stream: Stream) -> bytes | None:
        """One read; None if there is nothing now, b"" at the end."""
        try:
            chunk = os.read(self._pipes[stream].fileno(), READ_BYTES)
        except BlockingIOError:
            return None
        self._tail += chunk[-TAIL_BYTES:]
        del self._tail[:-TAIL_BYTES]
        for line in self._lines[stream].feed(chunk):
            self._tell(stream, line)
        return chunk

    def _end_lines(self) -> None:
        for stream, lines in self._lines.items():
            if (rest := lines.rest()) is not None:
                self._tell(stream, rest)

    def _tell(self, stream: Stream, line: str) -> None:
        if self._told is not None:
            self._told(stream, line)
