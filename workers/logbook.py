"""What a run prints and what its worker says of it, cut into lines that wait to be sent: the newest, within bounds."""

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Lock
from uuid import UUID

from api.schemas.leases import Assignment
from api.schemas.logs import LogLineIn, LogsIn, Stream

LINE_BYTES = 4_000  # what is left of a line; the server takes 4,096, with what is said of the cut
FULL_LINES, FULL_BYTES = 2_000, 1_000_000  # what the server keeps of an attempt: more need not wait for it
BATCH_LINES, BATCH_BYTES = 500, 250_000


class Lines:
    """Cuts a stream of bytes into lines. Of what is overwritten in place (``\\r``, progress bars) the last is kept."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._lost = 0

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The lines that ``chunk`` ends."""
        *ends, rest = chunk.split(b"\n")
        for piece in ends:
            self._extend(piece)
            yield self._text()
        self._extend(rest)

    def rest(self) -> str | None:
        """A last line without its end, None if there is none."""
        return self._text() if self._line else None

    def _extend(self, piece: bytes) -> None:
        overwritten = piece.rfind(b"\r", 0, len(piece) - 1)
        if overwritten >= 0 or (piece and self._line.endswith(b"\r") and piece != b"\r"):
            self._line.clear()
            self._lost, piece = 0, piece[overwritten + 1 :]
        room = LINE_BYTES - len(self._line)
        self._line += piece[:room]
        self._lost += max(0, len(piece) - room)

    def _text(self) -> str:
        text = bytes(self._line).rstrip(b"\r").decode(errors="replace").replace("\x00", "\ufffd")
        lost, content = self._lost, text.encode()
        if len(content) > LINE_BYTES:  # what is no UTF-8 grows to three bytes each
            text = content[:LINE_BYTES].decode(errors="ignore")
            lost += len(content) - LINE_BYTES
        self._line.clear()
        self._lost = 0
        return f"{text} … [{lost} bytes cut]" if lost else text


class Logbook:
    """Lines of one attempt that are not sent yet. Safe to use from several threads.

    While nobody takes them the oldest make room for the newest; the gap in the positions tells of it.
    """

    def __init__(self, trial: Assignment) -> None:
        self.study, self.number = str(trial.study_id), trial.number
        self._lease: UUID = trial.lease.token
        self._lines: deque[LogLineIn] = deque()
        self._bytes = 0
        self._last = 0
        self._lock = Lock()
        self.closed = False

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, stream: Stream, text: str) -> None:
        at = datetime.now(UTC)
        with self._lock:
            self._last += 1
            self._lines.append(LogLineIn.model_construct(position=self._last, at=at, stream=stream, text=text))
            self._bytes += _size(text)
            while len(self._lines) > FULL_LINES or self._bytes > FULL_BYTES:
                self._bytes -= _size(self._lines.popleft().text)

    def note(self, text: str) -> None:
        """What the worker itself says."""
        for line in Lines().feed(text.encode(errors="replace") + b"\n"):
            self.add("ladder", line)

    def batch(self) -> LogsIn | None:
        """The oldest lines; None if there are none."""
        with self._lock:
            taken, size = list[LogLineIn](), 0
            for line in self._lines:
                size += _size(line.text)
                if taken and (len(taken) == BATCH_LINES or size > BATCH_BYTES):
                    break
                taken.append(line)
        return LogsIn.model_construct(lease=self._lease, lines=taken) if taken else None

    def sent(self, batch: LogsIn) -> None:
        """Forget a batch that the API has."""
        last = batch.lines[-1].position
        with self._lock:
            while self._lines and self._lines[0].position <= last:
                self._bytes -= _size(self._lines.popleft().text)

    def discard(self) -> None:
        """Forget what is not sent: nobody will take it."""
        with self._lock:
            self._lines.clear()
            self._bytes = 0


def _size(text: str) -> int:
    return len(text.encode())
