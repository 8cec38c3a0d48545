"""The audit log: one JSON line for each event of a key and of administration, in the logger `qrerank.audit`."""

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


def open_log(file: Path | None) -> None:
    """Write to a file, which others may move away at any time, or to standard error; KeysMisconfigured if not so."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if file:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handler = WatchedFileHandler(file, encoding="utf-8")
        except OSError as error:
            raise KeysMisconfigured(f"the audit log {file} cannot be written: {error.strerror}") from error
    for old in log.handlers[:]:
        log.removeHandler(old)
        old.close()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False  # these lines are for machines


def record(
    event: str,
    *,
    by: str,
    origin: str,
    result: str,
    prefix: str | None = None,
    about: Mapping[str, object] | None = None,
) -> None:
    """Tell of an event. by: who caused it; prefix: of the key it befell. Nothing here may be a secret."""
    told: dict[str, object] = {"time": datetime.now(UTC), "event": event, "by": by, "from": origin, "result": result}
    if prefix is not None:
        told["key"] = prefix
    told |= about or {}
    if request_id := get_contextvars().get("request_id"):
        told["request_id"] = request_id
    log.info("%s", orjson.dumps(told).decode())
