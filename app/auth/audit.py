"""The audit log: one JSON line for each key or admin event, in the logger `qrerank.audit`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path

import orjson
from structlog.contextvars import get_contextvars

from app.errors import KeysMisconfigured

log = logging.getLogger("qrerank.audit")
_service_log = logging.getLogger(__name__)


class _File(WatchedFileHandler):
    """A file whose lines go to standard error while it cannot be written: what they tell of has happened, and is done.

    Otherwise a lost folder would make an internal error of each refused key, and a new key would never be shown.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        try:
            super().emit(record)  # opens the file anew if it was moved
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base's name
        """Write a line to standard error, and log why."""
        cause = getattr(sys.exception(), "strerror", None) or type(sys.exception()).__name__
        _service_log.error("the audit log %s cannot be written: %s; standard error has it", self.baseFilename, cause)
        logging.StreamHandler(sys.stderr).emit(record)


def open_log(file: Path | None) -> None:
    """Write the log to a file, which log rotation may move, or to standard error.

    KeysMisconfigured if the file cannot be written.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if file:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handler = _File(file, encoding="utf-8")
        except OSError as error:
            raise KeysMisconfigured(f"the audit log {file} cannot be written: {error.strerror}") from error
    for old in log.handlers[:]:
        log.removeHandler(old)
        old.close()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False  # the service's own log format must not apply to these lines


def record(
    event: str,
    *,
    by: str,
    origin: str,
    result: str,
    prefix: str | None = None,
    about: Mapping[str, object] | None = None,
) -> None:
    """Log an event. No argument may contain a secret.

    Args:
        event: Its name, such as `key.created`.
        by: Who caused it.
        origin: The address of the client, or "command line".
        result: How it ended.
        prefix: The prefix of the affected key.
        about: Further fields of the line.
    """
    fields: dict[str, object] = {"time": datetime.now(UTC), "event": event, "by": by, "from": origin, "result": result}
    if prefix is not None:
        fields["key"] = prefix
    fields |= about or {}
    if request_id := get_contextvars().get("request_id"):
        fields["request_id"] = request_id
    log.info("%s", orjson.dumps(fields).decode())
