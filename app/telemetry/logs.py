"""Log configuration: one event per line, JSON or pretty, for all loggers, without data that clients sent.

All modules log with `logging`; structlog renders. Structured fields are passed as `extra={FACTS: …}`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson
import structlog
from structlog.contextvars import merge_contextvars
from structlog.types import EventDict, ExcInfo

from app.settings import LogSettings

FACTS = "facts"

_OURS = ("app", "retrieval", "quantum")
_FRAMES = 100  # of a traceback: the innermost ones
_CHAINED = 8  # exceptions printed with the one that was raised: its causes and its group's members

log = logging.getLogger(__name__)


def set_up(settings: LogSettings) -> None:
    """Configure all loggers of this process to write to standard error in one format, unbuffered."""
    level = getattr(logging, settings.level.upper())
    handler = _StandardError()
    handler.setFormatter(formatter(settings, terminal=sys.stderr.isatty()))
    handler.addFilter(_is_allowed)
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    logging.getLogger("uvicorn.error").setLevel(max(level, logging.INFO))  # its debug level logs whole frames
    for name in _OURS:
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # otherwise a failed write prints the record's arguments
    threading.excepthook = _log_thread_error


def is_pretty(settings: LogSettings, *, terminal: bool) -> bool:
    """Whether lines are rendered for people, not as JSON."""
    return settings.format == "pretty" or (settings.format == "auto" and terminal)


def formatter(settings: LogSettings, *, terminal: bool) -> logging.Formatter:
    """The formatter for these settings. terminal: whether the output is a terminal."""
    render = (
        structlog.dev.ConsoleRenderer(colors=terminal and "NO_COLOR" not in os.environ, sort_keys=False)
        if is_pretty(settings, terminal=terminal)
        else structlog.processors.JSONRenderer(_json)
    )
    full = settings.errors == "full"
    stack = structlog.processors.ExceptionRenderer() if full else structlog.processors.ExceptionRenderer(frames)
    return structlog.stdlib.ProcessorFormatter(processors=[_line, stack, render])


def frames(exc_info: ExcInfo) -> str:
    """A traceback of types, files, lines and functions, without messages: they may contain clients' data."""
    return "\n".join(_frames(exc_info[1], set()))


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to the current `sys.stderr`, which a progress bar replaces."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)  # StreamHandler's own would keep the stream

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        raise NotImplementedError


def _is_allowed(record: logging.LogRecord) -> bool:
    """Drop uvicorn's access log of WebSockets, which contains paths and query strings."""
    return not (record.name == "uvicorn.error" and '"WebSocket %s"' in str(record.msg))


def _line(_: object, level: str, event: EventDict) -> EventDict:
    record: logging.LogRecord = event["_record"]
    timestamp = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
    line: EventDict = {
        "timestamp": timestamp.replace("+00:00", "Z"),
        "level": level,
        "logger": record.name,
        "event": _message(record.name, event["event"]),
    }
    merge_contextvars(None, level, line)
    line.update(getattr(record, FACTS, ()))
    if "exc_info" in event:
        line["exc_info"] = event["exc_info"]
    return line


def _message(logger: str, text: str) -> str:
    if logger == "asyncio":  # the rest describes a task: its arguments and its error's message
        text = text.partition("\n")[0].partition("(")[0]
    return text.partition("\n")[0] if logger == "py.warnings" else text.strip()


def _json(line: EventDict, default: Callable[[Any], Any]) -> str:
    try:
        return orjson.dumps(line, default).decode()
    except orjson.JSONEncodeError:  # a path that is not Unicode
        return json.dumps(line, default=str)


def _frames(error: BaseException, visited: set[int]) -> list[str]:
    visited.add(id(error))
    lines = [f"{type(error).__module__}.{type(error).__qualname__}"]
    stack = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), limit=-_FRAMES, lookup_lines=False)
    lines += [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in stack]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    members = [("of", member) for member in error.exceptions] if isinstance(error, BaseExceptionGroup) else []
    for word, other in [*members, *([("after", cause)] if cause else [])]:
        if id(other) not in visited and len(visited) < _CHAINED:
            first, *rest = _frames(other, visited)
            lines += [f"{word} {first}", *rest]
    return lines


def _log_thread_error(hook: threading.ExceptHookArgs) -> None:
    if hook.exc_value is not None:
        log.error("a thread died", exc_info=hook.exc_value)
