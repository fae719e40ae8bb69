"""The Celery configuration is RELIABILITY.md section 2, setting by setting; and the worker's own task."""

from typing import Any

import pytest
from pydantic import SecretStr

from hpo.settings import Settings
from workers import tasks
from workers.app import celery_app

SETTINGS = Settings(redis_url=SecretStr("redis://127.0.0.1:1/0"))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("task_serializer", "json"),
        ("accept_content", ["json"]),
        ("result_backend", None),
        ("task_ignore_result", True),
        ("task_acks_late", False),
        ("task_reject_on_worker_lost", False),
        ("worker_prefetch_multiplier", 1),
        ("worker_disable_prefetch", True),
        ("worker_pool", "threads"),
        ("worker_concurrency", 1),
        ("worker_enable_remote_control", False),
        ("worker_send_task_events", False),
        ("worker_cancel_long_running_tasks_on_connection_loss", False),
        ("worker_soft_shutdown_timeout", 0),
        ("broker_connection_retry_on_startup", True),
        ("broker_connection_max_retries", None),
        ("task_publish_retry", False),
        ("broker_url", "redis://127.0.0.1:1/0"),
        (
            "broker_transport_options",
            {
                "visibility_timeout": 300,
                "socket_timeout": 5,
                "socket_connect_timeout": 1,
                "socket_keepalive": True,
                "health_check_interval": 25,
                "max_retries": 0,
            },
        ),
    ],
)
def test_every_setting_is_as_the_design_wants_it(setting: str, value: Any) -> None:
    assert getattr(celery_app(SETTINGS).conf, setting) == value


def test_a_doorbell_drains_the_queue_it_names() -> None:
    drained: list[str] = []
    app = celery_app(SETTINGS)
    tasks.register(app, drained.append)
    task = app.tasks["worker.run_next"]
    task("gpu")
    assert drained == ["gpu"]
    assert task.ignore_result
