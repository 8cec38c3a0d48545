"""Usage accounting per caller."""

from __future__ import annotations

from app.auth.usage import Usage
from app.telemetry.request_record import RequestRecord, Watcher

_REJECTIONS = {403, 413, 429, 503}  # by role, limit, quota or overload


def count_usage(usage: Usage) -> Watcher:
    """A watcher that counts requests, documents, tokens and rejections of every authenticated caller."""

    def count(record: RequestRecord) -> None:
        if record.identity is not None:
            usage.count(
                record.identity,
                requests=1,
                documents=record.done.documents or 0,
                tokens=record.done.tokens or 0,
                rejected=int(record.status in _REJECTIONS),
            )

    return count
