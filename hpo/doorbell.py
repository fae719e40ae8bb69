"""Rings: Celery messages that say there may be work. Sent by task name; this module owns no task.

A bell may be lost or doubled and does no harm (docs/adr/0001), so it is sent after the commit, from a background
thread, without a retry: a frozen Redis must not hold up an answer (RELIABILITY.md section 2, rows 5 and 19).
"""

import queue
import threading
from collections import Counter
from uuid import UUID

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

log = structlog.get_logger()

BROKER_OPTIONS = {
    "visibility_timeout": 300,
    "socket_timeout": 1,
    "socket_connect_timeout": 1,
    "socket_keepalive": True,
    "health_check_interval": 25,
    "max_retries": 0,
}


class Doorbell:
    """Sends bells from one thread of its own; rings for the same thing that pile up are sent as one."""

    def __init__(self, redis_url: str) -> None:
        self._app = Celery("ladder-doorbell", broker=redis_url, set_as_current=False)
        self._app.conf.update(
            task_serializer="json",
            task_publish_retry=False,
            task_ignore_result=True,
            broker_transport_options=BROKER_OPTIONS,
            broker_connection_retry=False,
        )
        self._bells: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
        self._pending: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._send, name="doorbell", daemon=True)
        self._thread.start()

    def ring_control(self, study: UUID) -> None:
        """Ask control to look at a study."""
        self._put(("control.advance", str(study)), most=1)

    def ring_analysis(self, study: UUID) -> None:
        """Ask control to compute what was asked about a study."""
        self._put(("control.analyse", str(study)), most=1)

    def ring(self, queue_name: str) -> None:
        """Tell one worker of a queue that there may be a trial; trials for external trainers are on none."""
        if not queue_name:
            return
        self._put(("worker.run_next", queue_name), most=64)

    def close(self) -> None:
        """Send what is pending and end the thread."""
        self._bells.put(None)
        self._thread.join(timeout=5)

    def _put(self, bell: tuple[str, str], *, most: int) -> None:
        with self._lock:
            if self._pending[bell] >= most:
                return
            self._pending[bell] += 1
        self._bells.put(bell)

    def _send(self) -> None:
        while (bell := self._bells.get()) is not None:
            with self._lock:
                self._pending[bell] -= 1
            task, argument = bell
            target = "control" if task.startswith("control.") else argument
            try:
                self._app.send_task(task, args=[argument], queue=target, ignore_result=True)
            except (OperationalError, RedisError, OSError) as error:
                # Not lost: the row is queued in Postgres, and the sweep rings again for whatever stays there.
                log.warning("doorbell-failed", task=task, queue=target, error=str(error))
