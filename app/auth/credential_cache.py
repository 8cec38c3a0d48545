"""A cache of authentication results."""

from __future__ import annotations

import math
import time
from typing import TypeVar

from app.auth.store import Grant, Refusal

T = TypeVar("T")

REMEMBERED_S = 2.0  # a revoked key is accepted for at most this long
_MAX_ENTRIES = 10_000


class Remembered:
    """Caches grants and refusals by the credential's keyed hash, for a short time. Refusals never evict grants."""

    def __init__(self, seconds: float, most: int = _MAX_ENTRIES) -> None:
        """seconds: how long an entry is valid. most: the maximum number of grants, and of refusals."""
        self._seconds, self._max_entries = seconds, most
        self._granted: dict[bytes, tuple[Grant, float]] = {}
        self._refused: dict[bytes, tuple[Refusal, float]] = {}

    def get(self, digest: bytes) -> Grant | Refusal | None:
        """The cached result of a credential, or None."""
        entry = self._granted.get(digest) or self._refused.get(digest)
        return entry[0] if entry and time.monotonic() < entry[1] else None

    def put(self, digest: bytes, result: Grant | Refusal, since: float) -> None:
        """Cache the result of a credential.

        Args:
            digest: The credential's keyed hash.
            result: The store's answer.
            since: When the store was queried, by the monotonic clock.
        """
        self._granted.pop(digest, None)
        self._refused.pop(digest, None)
        left = result.until - time.time() if isinstance(result, Grant) else math.inf
        until = min(since + self._seconds, time.monotonic() + left)
        if isinstance(result, Grant):
            _keep(self._granted, digest, (result, until), self._max_entries)
        else:
            _keep(self._refused, digest, (result, until), self._max_entries)

    def clear(self) -> None:
        """Remove all entries."""
        self._granted.clear()
        self._refused.clear()


def _keep(entries: dict[bytes, T], digest: bytes, entry: T, most: int) -> None:
    if len(entries) >= most:
        del entries[next(iter(entries))]  # the oldest
    entries[digest] = entry
