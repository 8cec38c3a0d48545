"""The access log: one line for each request that is over, of what was asked and what came of it, and no text of it."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any
from zlib import crc32

from app.telemetry.logs import FACTS
from app.telemetry.request_record import RequestRecord, Watcher

log = logging.getLogger(__name__)

PROBES = {"/health", "/health/ready", "/health/detailed", "/metrics"}  # asked every few seconds
_HASHES = 2**32


def log_requests(share: float) -> Watcher:
    """A watcher that writes a line for this share of requests, and for all that fail with 5xx.

    Which requests is settled by their ids, so that every replica and every proxy that hashes alike takes the same.
    """

    def write(record: RequestRecord) -> None:
        level = _level(record)
        if log.isEnabledFor(level) and (level >= logging.WARNING or is_sampled(record.request_id, share)):
            log.log(level, "request", extra={FACTS: facts(record)})

    return write


def is_sampled(request_id: str, share: float) -> bool:
    """Whether a request is of the share, 0 to 1, that is taken."""
    return crc32(request_id.encode()) < share * _HASHES


def facts(record: RequestRecord) -> dict[str, Any]:
    """What is told of a request: counts, names and times; what it does not have is left out."""
    told = {
        "request_id": record.request_id,  # on a WebSocket each request has its own
        "http_method": record.http_method,
        "route": record.route,
        "status": int(record.status),
        "problem": record.problem,
        "ms": round(record.seconds * 1e3, 2),
        "who": record.identity and record.identity.name,
        "tier": record.identity and record.identity.tier,
        "origin": record.origin,
        "dialect": record.dialect,
        "model": record.done.model,
        "method": record.done.method,
        "documents": record.done.documents,
        "tokens": record.done.tokens,
    }
    done = record.done
    if done.encoded or done.cached or done.skipped:
        told |= {"encoded": done.encoded, "known": done.cached, "unread": done.skipped, "cut": done.incomplete}
    return {name: value for name, value in told.items() if value is not None}


def _level(record: RequestRecord) -> int:
    if record.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return logging.ERROR
    if record.route in PROBES:
        return logging.DEBUG
    return logging.WARNING if record.status > HTTPStatus.INTERNAL_SERVER_ERROR else logging.INFO
