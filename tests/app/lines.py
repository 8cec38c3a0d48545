"""Logs as the service writes them, for tests to read."""

import io
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

from app.logs import set_up
from app.telemetry_settings import LogSettings

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

    def first(self, count: int) -> list[dict[str, Any]]:
        """So many lines, once they are there: a server writes some after it answered. There may be no more."""
        end = time.monotonic() + 10
        while self.text.count("\n") < count and time.monotonic() < end:
            time.sleep(0.01)
        assert len(self.read) == count, self.text
        return self.read


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
