"""Renews a lease from its own thread while the runner is busy, and passes on what the API asks of the trial."""

from collections.abc import Callable
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Literal, Self

import structlog

from api.schemas.leases import HeartbeatOut
from ladder.errors import ApiError, LeaseLost, NotFoundError, Unreachable

log = structlog.get_logger(__name__)

StopRequest = Literal["pause", "stop", "cancel"]


class Heartbeat:
    """Calls ``renew`` every ``every_s`` until ``stop``.

    ``calls`` is held over each beat. The runner holds it over its own calls and stops the heartbeat before it lets go
    of the one that ends the lease: so no beat is ever under way for a lease that this worker itself has just ended,
    which would be answered with LeaseLost and kill the child in the midst of its next trial.
    """

    def __init__(
        self,
        renew: Callable[[], HeartbeatOut],
        *,
        every_s: float,
        calls: Lock,
        on_renewed: Callable[[StopRequest | None], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._renew = renew
        self._every_s = every_s
        self._calls = calls
        self._on_renewed = on_renewed
        self._on_lost = on_lost
        self._stopped = Event()

    def stop(self) -> None:
        """No beat starts after this."""
        self._stopped.set()

    def __enter__(self) -> Self:
        Thread(target=self._run, name="heartbeat", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()  # not joined: the next trial does not wait for the last one's thread

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            with self._calls:
                if self._stopped.is_set():
                    return
                try:
                    answer = self._renew()
                except (LeaseLost, NotFoundError) as error:
                    log.warning("lease_lost", at="heartbeat", detail=error.detail)
                    self._stopped.set()
                    self._on_lost()
                    return
                except Unreachable as error:
                    log.warning("heartbeat_unanswered", detail=error.detail)
                    continue
                except ApiError as error:
                    log.error("heartbeat_refused", status=error.status, code=error.code, detail=error.detail)
                    continue
                self._on_renewed(answer.stop)
