"""Logs as the service writes them, for tests to read."""

import io
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

from app.settings import LogSettings
from app.telemetry.logs import set_up
from tests.waiting import eventually

_LOGGERS = (None, "uvicorn.error", "app", "retrieval", "quantum")


class Lines(io.StringIO):
    """What was written to standard error."""

    @property
    def text(self) -> str:
        """All of it."""
        return self.getvalue()

    @property
    def read(self) -> list[dict[str, Any]]:
        """Each line, which must be JSON."""
        return [json.loads(line) for line in self.text.splitlines()]

    def first(self, count: int, of: str = "") -> list[dict[str, Any]]:
        """So many lines of loggers that begin so, once they are there: a server writes some after it answered."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.read if line["logger"].startswith(of)]

        eventually(lambda: len(found()) >= count)
        assert len(found()) == count, self.text
        return found()


@contextmanager
def logged(**settings: Any) -> Iterator[Lines]:
    """Log as a service with these settings does (JSON, all levels, unless said otherwise), here instead of there."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    root, levels, hook = loggers[0], [logger.level for logger in loggers], threading.excepthook
    handlers, root.handlers = root.handlers, []
    try:
        with redirect_stderr(Lines()) as lines:
            set_up(LogSettings(**{"format": "json", "level": "debug"} | settings))
            told, shown = root.handlers[0], logging.StreamHandler(lines)  # standard error may change while this runs
            shown.setFormatter(told.formatter)
            shown.filters, root.handlers = told.filters, [shown]
            yield lines
    finally:
        logging.captureWarnings(capture=False)
        logging.raiseExceptions, threading.excepthook, root.handlers = True, hook, handlers
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
