"""Usage: what each request counts for its caller."""

from __future__ import annotations

from app.auth.usage import Usage
from app.telemetry.request_record import RequestRecord, Watcher

_REFUSALS = {403, 413, 429, 503}  # by role, limit or overload


def count_usage(usage: Usage) -> Watcher:
    """A watcher that counts every request of a caller who was let in, what it used, and whether it was refused."""

    def count(record: RequestRecord) -> None:
        if record.identity is not None:
            usage.count(
                record.identity,
                requests=1,
                documents=record.done.documents or 0,
                tokens=record.done.tokens or 0,
                rejected=int(record.status in _REFUSALS),
            )

    return count
