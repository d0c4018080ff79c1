"""Structured logs: one JSON object a line on standard output, ids only, never personal data.

An exception is logged by its type and the places it came through. Its message and the variables of its frames are
left out: "duplicate key (email)=(…)" and a validator's "input was …" hold what a person typed. The messages of our
own errors (`shared.errors`) are kept, since they name ids only.
"""

import logging
import sys
import traceback
from typing import Any

import orjson
import structlog

from shared.errors import HustingsError

CHAIN_LENGTH = 4
FRAMES = 20


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
                structlog.processors.ExceptionRenderer(describe),
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


def describe(exc_info: Any) -> list[dict[str, Any]]:
    """An exception and its causes, the outermost first: type, places, PostgreSQL's names of what was violated."""
    error: BaseException | None = exc_info[1]
    chain: list[dict[str, Any]] = []
    while error is not None and len(chain) < CHAIN_LENGTH:
        told: dict[str, Any] = {"type": f"{type(error).__module__}.{type(error).__qualname__}"}
        if isinstance(error, HustingsError):
            told["message"] = str(error)
        for name in ("sqlstate", "table_name", "constraint_name"):
            if isinstance(value := getattr(error, name, None), str):
                told[name] = value
        frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
        told["frames"] = [f"{code.co_filename}:{line} in {code.co_name}" for code, line in frames[-FRAMES:]]
        chain.append(told)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return chain


def _dumps(entry: Any, **_: Any) -> str:
    return orjson.dumps(entry, default=str).decode()


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose `component` is `name`, e.g. `get_logger("relay")`."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(component=name)
    return logger
