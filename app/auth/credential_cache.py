"""What came of credentials a moment ago."""

from __future__ import annotations

import math
import time
from typing import TypeVar

from app.auth.store import Grant, Refusal

T = TypeVar("T")

REMEMBERED_S = 2.0  # a key that was revoked opens for no longer than this
_MOST = 10_000


class Remembered:
    """Grants and refusals by the credential's keyed hash, for a short time. Refusals cannot crowd out grants."""

    def __init__(self, seconds: float, most: int = _MOST) -> None:
        """most: how many of each kind."""
        self._seconds, self._most = seconds, most
        self._granted: dict[bytes, tuple[Grant, float]] = {}
        self._refused: dict[bytes, tuple[Refusal, float]] = {}

    def get(self, digest: bytes) -> Grant | Refusal | None:
        """What came of a credential, if that is known."""
        found = self._granted.get(digest) or self._refused.get(digest)
        return found[0] if found and time.monotonic() < found[1] else None

    def put(self, digest: bytes, found: Grant | Refusal, since: float) -> None:
        """Remember what came of a credential. since: when the store was asked, by the monotonic clock."""
        self._granted.pop(digest, None)
        self._refused.pop(digest, None)
        left = found.until - time.time() if isinstance(found, Grant) else math.inf
        until = min(since + self._seconds, time.monotonic() + left)
        if isinstance(found, Grant):
            _keep(self._granted, digest, (found, until), self._most)
        else:
            _keep(self._refused, digest, (found, until), self._most)

    def clear(self) -> None:
        """Forget everything."""
        self._granted.clear()
        self._refused.clear()


def _keep(kept: dict[bytes, T], digest: bytes, entry: T, most: int) -> None:
    if len(kept) >= most:
        del kept[next(iter(kept))]  # the oldest
    kept[digest] = entry
