"""Sends what runs print, from a thread of its own: training and its reports never wait for it."""

import time
from threading import Condition, Thread
from typing import Protocol

import structlog

from api.schemas.leases import Assignment
from api.schemas.logs import LogsIn, LogsOut
from ladder.errors import ApiError
from workers.held import may_pass
from workers.logbook import Logbook

log = structlog.get_logger(__name__)

MOST_BOOKS = 20  # of ended attempts, while the API takes no logs but gives trials


class LogApi(Protocol):
    """``ladder.client.Client.leases``."""

    def log(self, study: str, number: int, body: LogsIn) -> LogsOut: ...


class LogSender:
    """Sends every ``every_s``, and at the end of a run. Its thread lives as long as there is something to send."""

    def __init__(self, api: LogApi, *, every_s: float) -> None:
        self._api = api
        self._every_s = every_s
        self._books: list[Logbook] = []
        self._changed = Condition()
        self._runs = False
        self._hurry = False

    def open(self, trial: Assignment) -> Logbook:
        """A book for a new attempt. What is written in it is sent until it is closed and empty."""
        book = Logbook(trial)
        with self._changed:
            closed = [one for one in self._books if one.closed]
            if len(closed) >= MOST_BOOKS:
                log.warning("logs_dropped", study=closed[0].study, number=closed[0].number, lines=len(closed[0]))
                self._books.remove(closed[0])
            self._books.append(book)
            if not self._runs:
                self._runs = True
                Thread(target=self._run, name="logs", daemon=True).start()
        return book

    def close(self, book: Logbook) -> None:
        """The attempt has ended: send the rest now."""
        with self._changed:
            book.closed = True
            self._hurry = True
            self._changed.notify_all()

    def finish(self, within_s: float) -> None:
        """Wait until the books of ended attempts are sent, for at most ``within_s``."""
        ends = time.monotonic() + within_s
        with self._changed:
            self._changed.wait_for(lambda: not any(book.closed for book in self._books), ends - time.monotonic())

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._hurry:
                    self._changed.wait(self._every_s)
                self._hurry = False
                books = list(self._books)
            reached = all(self._send(book) for book in books)
            with self._changed:
                # Closed is read after the sending: what was written in between is still in the book.
                self._books = [book for book in self._books if not book.closed or len(book)]
                self._changed.notify_all()
                if not self._books:
                    self._runs = False
                    return
                if not reached:
                    self._hurry = False  # the API is away: not again before the next period

    def _send(self, book: Logbook) -> bool:
        """Whether the API could be reached."""
        while (batch := book.batch()) is not None:
            try:
                self._api.log(book.study, book.number, batch)
            except ApiError as error:
                if may_pass(error):
                    log.warning("logs_unanswered", detail=error.detail, lines=len(book))
                    return False
                log.warning("logs_refused", status=error.status, code=error.code, detail=str(error))
                book.discard()
            else:
                book.sent(batch)
        return True
