"""Usage per caller and day, counted in memory and written to the store every second."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from app.auth.store import Counts, UsageStore, day_of
from app.errors import KeysReadOnly, KeysUnavailable
from app.identity import Identity
from retrieval.errors import Fault

log = logging.getLogger(__name__)

WRITE_EVERY_S = 1.0
MOST_ROWS = 10_000


@dataclass
class Used:
    """Usage since the last write."""

    counts: dict[tuple[str, str], Counts] = field(default_factory=lambda: defaultdict(Counts))  # by day and caller
    seen: dict[str, float] = field(default_factory=dict)  # last use by key id, in seconds since the epoch

    def halves(self) -> list[Used]:
        """The rows in two halves."""
        rows = list(self.counts.items())
        return [self._part(dict(rows[: len(rows) // 2])), self._part(dict(rows[len(rows) // 2 :]))]

    def _part(self, counts: dict[tuple[str, str], Counts]) -> Used:
        return Used(counts, {caller: self.seen[caller] for _, caller in counts if caller in self.seen})


def who(identity: Identity) -> str:
    """The caller's id in the usage table: the key's id, which rotation does not change, or the caller's name."""
    return identity.key_id or identity.name


@dataclass(frozen=True)
class UsageCounts:
    """The state of writing usage."""

    waiting: int = 0  # rows (one per day and caller) that are not written yet
    dropped: int = 0  # requests whose usage was dropped
    fault: Fault | None = None  # why the last write failed, and since when writes fail


class Usage:
    """Counts usage; safe to use from any thread. A process that is killed loses the counts of its last second.

    Rows that cannot be written wait in memory: at most 10 000, about 5 MB. A row is one caller on one day. Beyond
    that limit existing rows still grow, and usage that would need a new row is dropped.
    """

    def __init__(self, store: UsageStore | None, clock: Callable[[], float] = time.time) -> None:
        """store: None if authentication is off; then nothing is counted. clock: seconds since the epoch."""
        self._store, self._clock = store, clock
        self._lock = threading.Lock()  # guards the attributes below
        self._used = Used()
        self._writing = self._dropped = 0  # rows that are being written; dropped requests
        self._fault: Fault | None = None
        self.last_fault: Fault | None = None
        self._logged: set[str] = set()  # messages that are logged once only

    def count(
        self, identity: Identity, *, requests: int = 0, documents: int = 0, tokens: int = 0, rejected: int = 0
    ) -> None:
        """Count a caller's usage."""
        if self._store is None:
            return
        now = self._clock()
        seen = {identity.key_id: now} if identity.key_id else {}
        self._add(Used({(day_of(now), who(identity)): Counts(requests, documents, tokens, rejected)}, seen))

    def counts(self) -> UsageCounts:
        """The current state."""
        with self._lock:
            return UsageCounts(max(len(self._used.counts), self._writing), self._dropped, self._fault)

    def write(self) -> None:
        """Write all counted usage. KeysUnavailable if it cannot be written now; it is kept for the next attempt.

        A row that the store rejects is found by bisection and dropped, so that all other rows are written.
        """
        with self._lock:
            pending, self._used = [self._used], Used()
            self._writing = len(pending[0].counts)
        fault: KeysUnavailable | None = None
        try:
            while pending:
                self._write_last(pending)
        except KeysUnavailable as error:
            fault = error
            raise
        finally:
            self._take_back(pending)
            self._writing = 0
            self._note(fault)

    def _write_last(self, pending: list[Used]) -> None:
        """Write the last part. If it is rejected, replace it by its halves, or drop it if it is a single row."""
        part = pending[-1]
        try:
            if self._store is not None and part.counts:
                self._store.add(part.counts, part.seen)
        except KeysUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a row is at fault: `_drop` logs it
            pending.pop()
            if len(part.counts) > 1:
                pending.extend(part.halves())
            else:
                self._drop(part.counts.values(), "a row that the database rejects is dropped", error)
        else:
            pending.pop()

    def _take_back(self, pending: Sequence[Used]) -> None:
        """Put usage that was not written back, before the usage that was counted meanwhile."""
        if not pending:
            return
        with self._lock:
            newer, self._used = self._used, Used()
        for part in (*pending, newer):
            self._add(part)

    def _add(self, more: Used) -> None:
        """Add usage to the waiting rows, but create no row beyond the limit."""
        dropped = []
        with self._lock:
            rows = self._used.counts
            for day_and_caller, counts in more.counts.items():
                if day_and_caller in rows or len(rows) < MOST_ROWS:
                    rows[day_and_caller].add(counts)
                else:
                    dropped.append(counts)
            callers = {caller for _, caller in rows} if dropped else more.seen
            self._used.seen |= {key_id: seconds for key_id, seconds in more.seen.items() if key_id in callers}
        if dropped:
            self._drop(dropped, f"{MOST_ROWS} rows wait to be written, and the usage of other callers is dropped")

    def _drop(self, rows: Iterable[Counts], reason: str, error: Exception | None = None) -> None:
        with self._lock:
            self._dropped += sum(counts.requests for counts in rows)
            self.last_fault = Fault.now(f"usage: {reason}")
            first, self._logged = reason not in self._logged, self._logged | {reason}
        if first:
            log.error("usage: %s; further cases are only counted", reason, exc_info=error)

    def _note(self, error: KeysUnavailable | None) -> None:
        """Store and log whether the write succeeded, and since when writes fail."""
        with self._lock:
            before = self._fault
            if error is None:
                self._fault = None
            else:
                self.last_fault = Fault.now(f"usage cannot be written: {error.reason}")
                self._fault = self.last_fault if before is None else Fault(self.last_fault.text, before.at)
        if before is None and isinstance(error, KeysReadOnly):  # the database logs its own outages
            log.warning("%s; usage waits in memory; trying again every %g s", error.reason, WRITE_EVERY_S)
        elif before is not None and error is None:
            log.warning("usage is written again")

    async def keep_writing(self, in_thread: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        """Write every second, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            try:
                await in_thread(self.write)
            except KeysUnavailable:
                continue  # already logged
            except Exception:  # worker boundary: the next attempt may succeed
                if "writing" not in self._logged:
                    log.exception("usage could not be written")
                self._logged |= {"writing"}
