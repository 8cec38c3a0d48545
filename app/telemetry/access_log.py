"""The access log: one line for each request that is over, of what was asked and what came of it, and no text of it."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any
from zlib import crc32

from app.telemetry.logs import FACTS
from app.telemetry.request_record import Observed, Watcher

log = logging.getLogger(__name__)

PROBES = {"/health", "/health/ready", "/health/detailed", "/metrics"}  # asked every few seconds
_HASHES = 2**32


def log_requests(share: float) -> Watcher:
    """A watcher that writes a line for this share of requests, and for all that fail with 5xx.

    Which requests is settled by their ids, so that every replica and every proxy that hashes alike takes the same.
    """

    def write(seen: Observed) -> None:
        level = _level(seen)
        if log.isEnabledFor(level) and (level >= logging.WARNING or is_sampled(seen.request_id, share)):
            log.log(level, "request", extra={FACTS: facts(seen)})

    return write


def is_sampled(request_id: str, share: float) -> bool:
    """Whether a request is of the share, 0 to 1, that is taken."""
    return crc32(request_id.encode()) < share * _HASHES


def facts(seen: Observed) -> dict[str, Any]:
    """What is told of a request: counts, names and times; what it does not have is left out."""
    told = {
        "request_id": seen.request_id,  # on a WebSocket each request has its own
        "http_method": seen.http_method,
        "route": seen.route,
        "status": int(seen.status),
        "problem": seen.problem,
        "ms": round(seen.seconds * 1e3, 2),
        "who": seen.identity and seen.identity.name,
        "tier": seen.identity and seen.identity.tier,
        "origin": seen.origin,
        "dialect": seen.dialect,
        "model": seen.model,
        "method": seen.method,
        "documents": seen.documents,
        "tokens": seen.tokens,
    }
    if seen.encoded or seen.known or seen.unread:
        told |= {"encoded": seen.encoded, "known": seen.known, "unread": seen.unread, "cut": seen.cut}
    return {name: value for name, value in told.items() if value is not None}


def _level(seen: Observed) -> int:
    if seen.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return logging.ERROR
    if seen.route in PROBES:
        return logging.DEBUG
    return logging.WARNING if seen.status > HTTPStatus.INTERNAL_SERVER_ERROR else logging.INFO
