"""Logs to stderr, one event per fact: JSON lines, or coloured text where a person is watching."""

import logging
import sys

import structlog


def configure_logs() -> None:
    """For the whole process: our events and those of the libraries, in one form."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    watched = sys.stderr.isatty()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([] if watched else [structlog.processors.format_exc_info]),
                # Plain on purpose: the default also prints local variables, and among them API keys.
                structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
                if watched
                else structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for chatty in ("alembic", "celery", "kombu", "httpx", "httpcore"):  # a line for every request, doorbell or probe
        logging.getLogger(chatty).setLevel(logging.WARNING)
