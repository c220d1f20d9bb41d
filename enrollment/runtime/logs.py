"""Logs on stderr, including those of libraries; secrets are masked.

One JSON object per line; on a terminal lines for people.
"""

import json
import logging
import re
import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

#: Maximum length of a text field; the middle of a longer one is cut out.
MAX_FIELD_LENGTH = 8_000
#: Patterns of secrets, each after a text that it contains: looking for that first is faster.
_SECRETS = (
    ("://", re.compile(r"(://[^/\s:@\"]*:)[^@\s\"]+@"), r"\1***@"),
    ("enr_", re.compile(r"\benr_[A-Za-z0-9_-]{16,}"), "enr_***"),
    ("eyJ", re.compile(r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), "***"),
)
#: Loggers that log every task or request; only their warnings are logged.
_NOISY = (
    *("alembic", "celery.app.trace", "celery.beat", "celery.worker.strategy"),
    *("httpcore", "httpx", "kombu", "uvicorn.access"),
)
#: Members at the beginning of a line for people.
_HEAD = ("at", "level", "process", "event")

LogRenderer = Callable[[WrappedLogger, str, EventDict], str]
#: The fields of a record.
Fields = dict[str, object]
_SECRET_FIELDS = frozenset({"authorization", "key", "password", "secret", "token"})


def configure(level: str, *, process: str, stream: TextIO | None = None) -> None:
    """Routes all log records of this process to one stream, in one format."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    output = stream or sys.stderr
    handler = logging.StreamHandler(output)
    render = _render_for_people if output.isatty() else _render
    handler.setFormatter(_formatter(process, shared, render))
    _Output.current = _Output(handler, process, render)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(max(number, logging.WARNING))
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=False,
    )


def configure_command() -> None:
    """Routes the records of a command, which has no log of its own, to stderr.

    In the same forms as those of processes; the records of libraries are left as they are.
    """
    is_terminal = sys.stderr.isatty()

    def add_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = "cli"
        return event

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            add_process,
            _truncate_and_mask,
            _render_for_people if is_terminal else _render,
        ],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


class _Output:
    """Where this process writes its log, and how."""

    current: "_Output | None" = None

    def __init__(
        self, handler: "logging.StreamHandler[TextIO]", process: str, render: LogRenderer
    ) -> None:
        self._handler = handler
        self._process = process
        self._render = _encode if render is _render else render

    def write(self, records: Iterable[Fields]) -> None:
        """Writes records by one write and one flush."""
        render, process = self._render, {"process": self._process}
        lines = [render(None, "", each | process) for each in records]
        text = _mask("\n".join(lines)) + "\n"
        with self._handler.lock or nullcontext():
            self._handler.stream.write(text)
            self._handler.flush()


def write_together(records: Iterable[Fields]) -> None:
    """Writes records whose fields are complete but for the process, and short.

    They pass by what makes others slow: contexts, callers' own processors, cutting. Secrets are
    masked. Nothing is written before `configure`.
    """
    if _Output.current is not None:
        _Output.current.write(records)


def render_record(event: str, process: str, **fields: object) -> str:
    """Returns one record of level info as JSON, for commands, which have no log of their own."""
    now = datetime.now(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
    record = {"event": event, **fields, "level": "info", "at": now, "process": process}
    return _mask(json.dumps(record))


def bind(**fields: object) -> None:
    """Adds fields, such as `request_id`, to all later records of the current context."""
    structlog.contextvars.bind_contextvars(**fields)


def clear() -> None:
    """Removes the fields that were bound in the current context."""
    structlog.contextvars.clear_contextvars()


def _formatter(process: str, shared: list[Processor], render: LogRenderer) -> logging.Formatter:
    def name_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.StackInfoRenderer(),
            name_process,
            _truncate_and_mask,
            render,
        ],
    )


def _truncate_and_mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if name in _SECRET_FIELDS:
            event[name] = "***"
        elif isinstance(value, str) and len(value) > MAX_FIELD_LENGTH:
            event[name] = value[: MAX_FIELD_LENGTH // 2] + " … " + value[-MAX_FIELD_LENGTH // 2 :]
    return event


def _render(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Renders ASCII only, so that no value can break the line or control a terminal."""
    line = json.dumps({"event": event.pop("event", None), **event}, default=str, skipkeys=True)
    return _mask(line)


def _encode(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Renders ASCII only, as `_render`; the text is masked by the caller."""
    text = orjson.dumps(event).decode()
    return text if text.isascii() and text.isprintable() else json.dumps(event)


def _render_for_people(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Renders time, level, process, event and facts; a traceback follows line by line.

    ASCII only, as in JSON.
    """
    at, level, process, name = (str(event.pop(key, "")) for key in _HEAD)
    event.pop("logger", None)
    traceback = str(event.pop("exception", ""))
    facts = [f"{key}={json.dumps(value, default=str)}" for key, value in event.items()]
    head = json.dumps(f"{at[11:19]} {level.upper():<8}{process:<10} {name}")[1:-1]
    lines = [json.dumps(f"    {line}")[1:-1] for line in traceback.splitlines()]
    return _mask("\n".join([" ".join([head, *facts]), *lines]))


def _mask(text: str) -> str:
    for mark, secret, replacement in _SECRETS:
        if mark in text:
            text = secret.sub(replacement, text)
    return text
