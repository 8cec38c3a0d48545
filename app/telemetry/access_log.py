"""The access log: one line per finished request, with its facts and outcome, and none of its texts."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any
from zlib import crc32

from app.telemetry.logs import FACTS
from app.telemetry.request_record import RequestRecord, Watcher

log = logging.getLogger(__name__)

PROBES = {"/health", "/health/ready", "/health/detailed", "/metrics"}  # polled every few seconds
_HASHES = 2**32


def log_requests(share: float) -> Watcher:
    """A watcher that writes a line for a sample of the requests, and for every 5xx response.

    Sampling hashes the request id (CRC-32), so that all replicas and proxies that do the same select the same requests.
    share: the sampled share, 0 to 1.
    """

    def write(record: RequestRecord) -> None:
        level = _level(record)
        if log.isEnabledFor(level) and (level >= logging.WARNING or is_sampled(record.request_id, share)):
            log.log(level, "request", extra={FACTS: facts(record)})

    return write


def is_sampled(request_id: str, share: float) -> bool:
    """Whether a request belongs to the sample. share: 0 to 1."""
    return crc32(request_id.encode()) < share * _HASHES


def facts(record: RequestRecord) -> dict[str, Any]:
    """The log fields of a request: counts, names and times. Fields without a value are omitted."""
    fields = {
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
        fields |= {"encoded": done.encoded, "known": done.cached, "unread": done.skipped, "cut": done.incomplete}
    return {name: value for name, value in fields.items() if value is not None}


def _level(record: RequestRecord) -> int:
    if record.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return logging.ERROR
    if record.route in PROBES:
        return logging.DEBUG
    return logging.WARNING if record.status > HTTPStatus.INTERNAL_SERVER_ERROR else logging.INFO
