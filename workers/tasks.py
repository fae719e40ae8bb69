"""The worker's only task."""

from collections.abc import Callable

from celery import Celery


def register(app: Celery, drain: Callable[[str], None]) -> None:
    """Give ``app`` the task that a doorbell names."""

    @app.task(name="worker.run_next", ignore_result=True)
    def run_next(queue: str) -> None:
        """A doorbell, not an order: claims until nothing is left, so a lost or doubled message does no harm."""
        drain(queue)
