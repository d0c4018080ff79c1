"""Structured logs: one JSON object a line on standard output, ids only, never personal data."""

import logging
import sys
from typing import Any

import orjson
import structlog


def configure(service: str, level: str = "INFO", stream: Any = None) -> None:
    """Send structlog and the standard library's logging through one JSON renderer.

    Every line carries `service`, `level`, `event`, `timestamp` (UTC) and whatever is bound to the context
    (`correlation_id` above all).
    """
    stamps: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_service(service),
    ]
    structlog.configure(
        processors=[*stamps, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=stamps,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.dict_tracebacks,
                structlog.processors.JSONRenderer(serializer=_dumps),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Clients log addresses and payloads at INFO; theirs is not ours to publish.
    for noisy in ("httpx", "httpcore", "aiokafka", "faststream", "asyncio", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _add_service(service: str) -> structlog.typing.Processor:
    def add(_logger: Any, _method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
        entry["service"] = service
        return entry

    return add


def _dumps(entry: Any, **_: Any) -> str:
    return orjson.dumps(entry, default=str).decode()


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose `component` is `name`, e.g. `get_logger("relay")`."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(component=name)
    return logger
