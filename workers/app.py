"""The Celery app. Every setting answers a failure that was measured: RELIABILITY.md section 2 has the numbers."""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from celery import Celery, bootsteps
from celery.signals import task_postrun
from celery.worker import state

from hpo.settings import Settings

CONFIGURATION: dict[str, Any] = {
    # A message is a doorbell: two words of JSON, whose result nobody asks for.
    "task_serializer": "json",
    "accept_content": ["json"],
    "result_backend": None,
    "task_ignore_result": True,
    # Acked before the work begins: the truth is the lease in Postgres, and a redelivered doorbell would start it twice.
    "task_acks_late": False,
    "task_reject_on_worker_lost": False,
    # Nothing is prefetched, or a busy worker would keep doorbells from idle ones for hours.
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": True,
    # The solo pool can neither ack nor reconnect nor drain while a task runs, prefork forks after CUDA has started.
    "worker_pool": "threads",
    "worker_concurrency": 1,
    # Its reply queues would fill Redis; drains and cancels come with the answers of the API.
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    # The default of Celery 6 would kill an hour of training because Redis restarted.
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "worker_soft_shutdown_timeout": 0,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "task_publish_retry": False,
    "broker_transport_options": {
        "visibility_timeout": 300,
        "socket_timeout": 5,
        "socket_connect_timeout": 1,
        "socket_keepalive": True,
        "health_check_interval": 25,
        "max_retries": 0,
    },
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
}


def celery_app(settings: Settings) -> Celery:
    """The app of a worker or control process; connects to nothing yet."""
    app = Celery("ladder", broker=settings.redis_url.get_secret_value(), set_as_current=False)
    app.conf.update(CONFIGURATION)
    return app


class Doorbells:
    """Takes doorbells only while the process is idle, but then at once.

    ``busy`` is about work that came without a doorbell, of which Celery knows nothing: a doorbell that a busy worker
    took would wake nobody. Call ``look`` when such work has ended. After a task it is called here: with nothing
    prefetched, Celery's loop would sleep on for up to a second before it asks for the next message.
    """

    def __init__(self, app: Celery, busy: Callable[[], bool] = lambda: False) -> None:
        self._busy = busy
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        outer = self

        class TakeWhenIdle(bootsteps.StartStopStep):
            requires = ("celery.worker.consumer.tasks:Tasks",)

            def start(self, consumer: Any) -> None:  # with every new connection
                outer._attach(consumer)

            def stop(self, consumer: Any) -> None:
                consumer.hub.remove(outer._woken)

        app.steps["consumer"].add(TakeWhenIdle)
        task_postrun.connect(self._task_has_run, weak=False)

    def look(self) -> None:
        """There may be room for a doorbell again. From any thread."""
        with suppress(BlockingIOError):  # a full pipe wakes the loop as well
            os.write(self._wake, b".")

    def close(self) -> None:
        task_postrun.disconnect(self._task_has_run)
        os.close(self._woken)
        os.close(self._wake)

    def _task_has_run(self, **_: Any) -> None:
        self.look()

    def _attach(self, consumer: Any) -> None:
        qos, hub = consumer.task_consumer.channel.qos, consumer.hub
        has_room = qos.can_consume  # where worker_disable_prefetch has put its condition, too
        qos.can_consume = lambda: not self._busy() and has_room()

        def look(tries: int = 20) -> None:
            # The task that has ended still counts for a moment, until its thread has told Celery.
            if tries and state.reserved_requests and not self._busy():
                hub.call_later(0.005, look, tries - 1)

        def woken() -> None:
            os.read(self._woken, 4096)
            look()

        hub.add_reader(self._woken, woken)


def serve(app: Celery, queue: str) -> int:
    """Consume the queue on this (the main) thread until ``request_stop``; returns the exit code.

    Not Celery's command line: that one installs signal handlers of which a second SIGINT kills the running task.
    """
    worker = app.WorkController(
        hostname=f"{queue}@{socket.gethostname()}",
        queues=queue,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def request_stop() -> None:
    """Let ``serve`` return once the task that runs has ended. Takes no lock: signal handlers may call it."""
    # What the handler of SIGTERM in Celery sets: the exit code. Its stubs know None only.
    state.should_stop = 0  # type: ignore[assignment]
