"""What each caller used the service for, per day: counted in memory, written every second."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.errors import KeysUnavailable
from app.identity import Identity

if TYPE_CHECKING:
    from app.auth.sql_usage import SqlUsage

WRITE_EVERY_S = 1.0


@dataclass
class Counts:
    """What was used."""

    requests: int = 0
    documents: int = 0
    tokens: int = 0
    rejected: int = 0

    def add(self, other: Counts) -> None:
        """Add another's."""
        self.requests += other.requests
        self.documents += other.documents
        self.tokens += other.tokens
        self.rejected += other.rejected


@dataclass(frozen=True)
class Day:
    """What one caller used on one day."""

    day: str
    who: str
    requests: int
    documents: int
    tokens: int
    rejected: int


@dataclass
class Used:
    """What came up since it was last written."""

    counts: dict[tuple[str, str], Counts] = field(default_factory=lambda: defaultdict(Counts))  # by day and caller
    seen: dict[str, float] = field(default_factory=dict)  # key's id to seconds since the epoch


def who(identity: Identity) -> str:
    """Under what a caller's usage is kept: a key's stays its own when it is rotated."""
    return identity.key_id or identity.name


def day_of(seconds: float) -> str:
    """The day in UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


class Usage:
    """Counts from any thread. A process that is killed loses what it counted in its last second."""

    def __init__(self, store: SqlUsage | None, clock: Callable[[], float] = time.time) -> None:
        """store: None where nobody is told from anybody else, and nothing is kept."""
        self._store, self._clock = store, clock
        self._lock = threading.Lock()
        self._used = Used()

    def count(
        self, identity: Identity, *, requests: int = 0, documents: int = 0, tokens: int = 0, rejected: int = 0
    ) -> None:
        """Note what a caller did."""
        if self._store is None:
            return
        now = self._clock()
        with self._lock:
            self._used.counts[day_of(now), who(identity)].add(Counts(requests, documents, tokens, rejected))
            if identity.key_id:
                self._used.seen[identity.key_id] = now

    def write(self) -> None:
        """Write what came up. What cannot be written is kept for the next time."""
        with self._lock:
            used, self._used = self._used, Used()
        if self._store is None or not used.counts:
            return
        try:
            self._store.add(used.counts, used.seen)
        except BaseException:
            self._take_back(used)
            raise

    def _take_back(self, used: Used) -> None:
        with self._lock:
            for at, counts in used.counts.items():
                self._used.counts[at].add(counts)
            self._used.seen = used.seen | self._used.seen

    async def keep_writing(self, in_thread: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        """Write every second, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            try:
                await in_thread(self.write)
            except KeysUnavailable:
                continue  # the database said so in the log
