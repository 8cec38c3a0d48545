"""Captures the service's log lines for tests."""

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
    """Captured standard error."""

    @property
    def text(self) -> str:
        """The whole text."""
        return self.getvalue()

    @property
    def read(self) -> list[dict[str, Any]]:
        """The lines, parsed as JSON."""
        return [json.loads(line) for line in self.text.splitlines()]

    def first(self, count: int, of: str = "") -> list[dict[str, Any]]:
        """Wait for exactly `count` lines of loggers with the prefix `of`: a server writes some after its response."""

        def matching() -> list[dict[str, Any]]:
            return [line for line in self.read if line["logger"].startswith(of)]

        eventually(lambda: len(matching()) >= count)
        assert len(matching()) == count, self.text
        return matching()


@contextmanager
def logged(**settings: Any) -> Iterator[Lines]:
    """Capture logs in the format of these settings; by default JSON and all levels."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    root, levels, hook = loggers[0], [logger.level for logger in loggers], threading.excepthook
    handlers, root.handlers = root.handlers, []
    try:
        with redirect_stderr(Lines()) as lines:
            set_up(LogSettings(**{"format": "json", "level": "debug"} | settings))
            original, capturing = root.handlers[0], logging.StreamHandler(lines)  # `sys.stderr` may be replaced
            capturing.setFormatter(original.formatter)
            capturing.filters, root.handlers = original.filters, [capturing]
            yield lines
    finally:
        logging.captureWarnings(capture=False)
        logging.raiseExceptions, threading.excepthook, root.handlers = True, hook, handlers
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
