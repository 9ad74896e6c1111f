"""One chain of processors for the service's own records and for those of uvicorn and the libraries."""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal

import orjson
import structlog
from pydantic import Field
from pydantic_settings import SettingsConfigDict
from structlog.stdlib import ProcessorFormatter
from structlog.tracebacks import ExceptionDictTransformer
from structlog.types import EventDict, Processor, WrappedLogger

from app.context import current
from app.logs.redaction import redact
from app.settings import Environment, Settings


class LogSettings(Settings):
    model_config = SettingsConfigDict(env_prefix="LOG_")

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="the lowest level that is written"
    )

    @property
    def pretty(self) -> bool:
        return self.environment is Environment.DEVELOPMENT and sys.stdout.isatty()


def add_request(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Say which request, and on whose behalf, a record belongs to."""
    if (context := current.get(None)) is not None:
        event["request_id"] = context.request_id
        if context.trace_id is not None:
            event["trace_id"] = context.trace_id
        if context.principal_id is not None:
            event["user_id"] = context.principal_id
    return event


def render_json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """Begin every line with when, how grave and what, for the eye that scans them."""
    line = {"timestamp": event.pop("timestamp"), "level": event.pop("level"), "event": event.pop("event"), **event}
    try:
        return orjson.dumps(line, default=repr, option=orjson.OPT_UTC_Z).decode()
    except orjson.JSONEncodeError:  # half a surrogate pair, a number beyond 64 bits, or one as a key
        return json.dumps(line, default=str)


def drop_colours(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Uvicorn says everything a second time, in colour."""
    event.pop("color_message", None)
    return event


def add_time(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event["timestamp"] = datetime.now(UTC)
    return event


# What the server says of a WebSocket, with the whole URL or with nothing: the request's own line says more.
NO_NEWS = ('%s - "WebSocket ', "connection open", "connection closed", "connection rejected")


def is_news(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(NO_NEWS)


PROCESSORS: Sequence[Processor] = (structlog.stdlib.add_log_level, add_time, add_request)


def renderers(settings: LogSettings) -> Sequence[Processor]:
    """Return what turns a record into text; without local variables, for they hold secrets."""
    if settings.pretty:
        return (structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),)
    return (structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)), redact, render_json)


def write_line(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class StandardOutput(logging.Handler):
    """Writes to what standard output is now, not what it was when logging was configured."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            write_line(self.format(record))
        except Exception as error:  # a record that cannot be written must not stop the work that it tells of
            print(f"A record of {record.name} cannot be written: {type(error).__name__}", file=sys.stderr)


def configure() -> None:
    settings = LogSettings()
    handler = StandardOutput()
    handler.setFormatter(
        ProcessorFormatter(
            processors=[ProcessorFormatter.remove_processors_meta, *renderers(settings)],
            foreign_pre_chain=[
                *PROCESSORS,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                drop_colours,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=settings.level, force=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *PROCESSORS,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.StackInfoRenderer(),
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"  # the request's own line says more
        logger.addFilter(is_news)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # below that it logs whole URLs, with the secrets in them
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # below that it logs its own caches and logs


def write_request(event: EventDict) -> None:
    """Write what the processors would make of it, in a third of the time; nothing in it is secret."""
    line = add_request(None, "info", {"timestamp": datetime.now(UTC), "level": "info", **event})
    try:
        sys.stdout.buffer.write(orjson.dumps(line, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))
        sys.stdout.buffer.flush()
    except (OSError, orjson.JSONEncodeError) as error:  # the request has been answered, and so shall the next one
        print(f"The line of a request cannot be written: {error}", file=sys.stderr)


def access_logger() -> Callable[[EventDict], None]:
    """Return the writer of the one line per request, without the logger objects: they cost four times the line."""
    settings = LogSettings()
    if settings.level not in {"DEBUG", "INFO"}:
        return lambda event: None
    if not settings.pretty:
        return write_request
    chain = (*PROCESSORS, *renderers(settings))

    def write(event: EventDict) -> None:
        for processor in chain:
            event = processor(None, "info", event)  # type: ignore[assignment]  # the last one returns the text
        write_line(event)

    return write
