"""How log lines look: one event each, JSON or pretty, whoever wrote it, and nothing that clients sent.

Everybody writes with `logging`; structlog renders. What belongs to a line besides its text comes as `extra={FACTS: …}`.
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
_FRAMES = 100  # of a traceback, the innermost ones
_CHAINED = 8  # errors that led to an error

log = logging.getLogger(__name__)


def set_up(settings: LogSettings) -> None:
    """Have every logger of this process write to standard error, at once and in turn, in one look."""
    level = getattr(logging, settings.level.upper())
    handler = _StandardError()
    handler.setFormatter(formatter(settings, terminal=sys.stderr.isatty()))
    handler.addFilter(_is_told)
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    logging.getLogger("uvicorn.error").setLevel(max(level, logging.INFO))  # it writes whole frames when it debugs
    for name in _OURS:
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # else a line that cannot be written is told of with what it was to hold
    threading.excepthook = _tell_of_thread


def is_pretty(settings: LogSettings, *, terminal: bool) -> bool:
    """Whether lines are for people."""
    return settings.format == "pretty" or (settings.format == "auto" and terminal)


def formatter(settings: LogSettings, *, terminal: bool) -> logging.Formatter:
    """What makes a line of a record. terminal: whether it is read on one."""
    render = (
        structlog.dev.ConsoleRenderer(colors=terminal and "NO_COLOR" not in os.environ, sort_keys=False)
        if is_pretty(settings, terminal=terminal)
        else structlog.processors.JSONRenderer(_json)
    )
    full = settings.errors == "full"
    stack = structlog.processors.ExceptionRenderer() if full else structlog.processors.ExceptionRenderer(frames)
    return structlog.stdlib.ProcessorFormatter(processors=[_line, stack, render])


def frames(exc_info: ExcInfo) -> str:
    """Where an error was raised: types, files, lines and functions, and no message, since that may hold anything."""
    return "\n".join(_frames(exc_info[1], set()))


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at the moment: under a progress bar it is the bar's."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)  # StreamHandler's would keep the stream

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        raise NotImplementedError


def _is_told(record: logging.LogRecord) -> bool:
    """Not uvicorn's own access log of WebSockets, which holds paths and query strings."""
    return not (record.name == "uvicorn.error" and '"WebSocket %s"' in str(record.msg))


def _line(_: object, level: str, event: EventDict) -> EventDict:
    record: logging.LogRecord = event["_record"]
    when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
    line: EventDict = {
        "timestamp": when.replace("+00:00", "Z"),
        "level": level,
        "logger": record.name,
        "event": _said(record.name, event["event"]),
    }
    merge_contextvars(None, level, line)
    line.update(getattr(record, FACTS, ()))
    if "exc_info" in event:
        line["exc_info"] = event["exc_info"]
    return line


def _said(logger: str, text: str) -> str:
    if logger == "asyncio":  # what follows describes a task, with what it was given and the message of its error
        text = text.partition("\n")[0].partition("(")[0]
    return text.partition("\n")[0] if logger == "py.warnings" else text.strip()


def _json(line: EventDict, default: Callable[[Any], Any]) -> str:
    try:
        return orjson.dumps(line, default).decode()
    except orjson.JSONEncodeError:  # a path that is not Unicode
        return json.dumps(line, default=str)


def _frames(error: BaseException, seen: set[int]) -> list[str]:
    seen.add(id(error))
    lines = [f"{type(error).__module__}.{type(error).__qualname__}"]
    stack = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), limit=-_FRAMES, lookup_lines=False)
    lines += [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in stack]
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    inner = [("of", each) for each in error.exceptions] if isinstance(error, BaseExceptionGroup) else []
    for word, other in [*inner, *([("after", before)] if before else [])]:
        if id(other) not in seen and len(seen) < _CHAINED:
            first, *rest = _frames(other, seen)
            lines += [f"{word} {first}", *rest]
    return lines


def _tell_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None:
        log.error("a thread died", exc_info=ended.exc_value)
