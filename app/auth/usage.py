"""What each caller used the service for, per day: counted in memory, written every second."""

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
    """What came up since it was last written."""

    counts: dict[tuple[str, str], Counts] = field(default_factory=lambda: defaultdict(Counts))  # by day and caller
    seen: dict[str, float] = field(default_factory=dict)  # key's id to seconds since the epoch

    def halves(self) -> list[Used]:
        """The same in two parts."""
        rows = list(self.counts.items())
        return [self._part(dict(rows[: len(rows) // 2])), self._part(dict(rows[len(rows) // 2 :]))]

    def _part(self, counts: dict[tuple[str, str], Counts]) -> Used:
        return Used(counts, {caller: self.seen[caller] for _, caller in counts if caller in self.seen})


def who(identity: Identity) -> str:
    """Under what a caller's usage is kept: a key's stays its own when it is rotated."""
    return identity.key_id or identity.name


@dataclass(frozen=True)
class UsageCounts:
    """How the writing of usage goes."""

    waiting: int = 0  # rows, one a day and caller, that are to be written
    dropped: int = 0  # requests that were counted and are in no row
    fault: Fault | None = None  # why they could not be written when that was last tried, and since when


class Usage:
    """Counts from any thread. A process that is killed loses what it counted in its last second.

    What cannot be written waits in memory, 10 000 rows at most, which take about 5 MB; a row is one caller's on one
    day. Beyond that no new rows are begun: what callers do who have one is counted, and what others do is dropped.
    """

    def __init__(self, store: UsageStore | None, clock: Callable[[], float] = time.time) -> None:
        """store: None where nobody is told from anybody else, and nothing is kept."""
        self._store, self._clock = store, clock
        self._lock = threading.Lock()  # guards what follows
        self._used = Used()
        self._writing = self._dropped = 0  # rows that are being written; requests
        self._fault: Fault | None = None
        self.last_fault: Fault | None = None
        self._told: set[str] = set()

    def count(
        self, identity: Identity, *, requests: int = 0, documents: int = 0, tokens: int = 0, rejected: int = 0
    ) -> None:
        """Note what a caller did."""
        if self._store is None:
            return
        now = self._clock()
        seen = {identity.key_id: now} if identity.key_id else {}
        self._add(Used({(day_of(now), who(identity)): Counts(requests, documents, tokens, rejected)}, seen))

    def counts(self) -> UsageCounts:
        """How it goes at this moment."""
        with self._lock:
            return UsageCounts(max(len(self._used.counts), self._writing), self._dropped, self._fault)

    def write(self) -> None:
        """Write what came up; KeysUnavailable where it cannot be written now, and it is kept for the next time.

        A row that the store refuses is found by halves and dropped, so that it keeps no other from being written.
        """
        with self._lock:
            left, self._used = [self._used], Used()
            self._writing = len(left[0].counts)
        fault: KeysUnavailable | None = None
        try:
            while left:
                self._write_last(left)
        except KeysUnavailable as error:
            fault = error
            raise
        finally:
            self._take_back(left)
            self._writing = 0
            self._note(fault)

    def _write_last(self, left: list[Used]) -> None:
        """Write the last of these parts. One that is refused makes way for its halves, and a single row for nothing."""
        part = left[-1]
        try:
            if self._store is not None and part.counts:
                self._store.add(part.counts, part.seen)
        except KeysUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a row's: `_drop` logs it
            left.pop()
            if len(part.counts) > 1:
                left.extend(part.halves())
            else:
                self._drop(part.counts.values(), "a row that the database refuses is dropped", error)
        else:
            left.pop()

    def _take_back(self, left: Sequence[Used]) -> None:
        """Count again what was not written, before what came up meanwhile."""
        if not left:
            return
        with self._lock:
            newer, self._used = self._used, Used()
        for part in (*left, newer):
            self._add(part)

    def _add(self, more: Used) -> None:
        """Add rows to those that wait, but no new ones when there are too many."""
        dropped = []
        with self._lock:
            rows = self._used.counts
            for at, counts in more.counts.items():
                if at in rows or len(rows) < MOST_ROWS:
                    rows[at].add(counts)
                else:
                    dropped.append(counts)
            callers = {caller for _, caller in rows} if dropped else more.seen
            self._used.seen |= {key_id: at for key_id, at in more.seen.items() if key_id in callers}
        if dropped:
            self._drop(dropped, f"{MOST_ROWS} rows wait to be written, and what other callers use is dropped")

    def _drop(self, rows: Iterable[Counts], why: str, error: Exception | None = None) -> None:
        with self._lock:
            self._dropped += sum(counts.requests for counts in rows)
            self.last_fault = Fault.now(f"usage: {why}")
            first, self._told = why not in self._told, self._told | {why}
        if first:
            log.error("usage: %s; more are counted", why, exc_info=error)

    def _note(self, error: KeysUnavailable | None) -> None:
        """Remember whether it could be written, and since when not."""
        with self._lock:
            before = self._fault
            if error is None:
                self._fault = None
            else:
                self.last_fault = Fault.now(f"usage cannot be written: {error.reason}")
                self._fault = self.last_fault if before is None else Fault(self.last_fault.text, before.at)
        if before is None and isinstance(error, KeysReadOnly):  # of other losses the database tells
            log.warning("%s; it waits in memory, and that is tried again every %g s", error.reason, WRITE_EVERY_S)
        elif before is not None and error is None:
            log.warning("usage is written again")

    async def keep_writing(self, in_thread: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        """Write every second, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            try:
                await in_thread(self.write)
            except KeysUnavailable:
                continue  # it is in the log
            except Exception:  # worker boundary: what fails now may go well the next time
                if "writing" not in self._told:
                    log.exception("usage could not be written")
                self._told |= {"writing"}
