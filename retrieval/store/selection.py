"""Which passages belong to the documents that a filter leaves. It is remembered until something is written."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import FilterUnfinished
from retrieval.store.connection import Connection
from retrieval.store.filters import Where
from retrieval.store.segment_table import SegmentTable

T = TypeVar("T")
Rows = Mapping[int, NDArray[np.int64]]  # of passages, by segment

_MOST_BYTES = 2**25
_LONGEST_S = 60.0  # that a condition is checked: others wait for it
_OVERHEAD_BYTES = 500  # of a condition without rows


@dataclass
class _Check:
    """A condition that is being checked, or whose turn will come."""

    rows: Future[Rows]
    waiting: int = 0  # requests that wait for it


class _Thread:
    """Does one thing after the other in a thread that ends when nothing is left: few of many collections are asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._left = 0

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have something done after all else."""
        with self._lock:
            self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="filter")
            future = self._pool.submit(work)
            self._left += 1
        future.add_done_callback(self._ended)
        return future

    def _ended(self, _: object) -> None:
        with self._lock:
            self._left -= 1
            if not self._left and self._pool:
                self._pool.shutdown(wait=False)
                self._pool = None

    def close(self) -> None:
        """Wait for what is being done; the rest is cancelled, and RuntimeError is what more gets."""
        with self._lock:
            self._left += 1  # this pool, which takes nothing more, stays
            self._pool = pool = self._pool or ThreadPoolExecutor(1)
        pool.shutdown(cancel_futures=True)


class Selections:
    """The passages of conditions, least recently used first. Thread-safe.

    A condition is checked on every document, which takes a second for a million. So one thread does it, with a
    connection of its own, and goes on where a request could not wait any longer: the next one finds what it found. A
    check that has not begun ends with the last request that waits for it.
    """

    def __init__(self, folder: Path, revision: Callable[[], int], most_bytes: int = _MOST_BYTES) -> None:
        """Remember nothing yet.

        Args:
            folder: Of the collection.
            revision: Gives a number that changes whenever something is written.
            most_bytes: What is remembered at most.
        """
        self._folder, self._revision, self._most_bytes = folder, revision, most_bytes
        self._connection: Connection | None = None
        self._checking = _Thread()
        self._lock = threading.Lock()  # held for moments
        self._running: dict[tuple[Where, int], _Check] = {}  # by the revision that they must not be older than
        self._known: OrderedDict[Where, Rows] = OrderedDict()
        self._of = -1  # the revision that they are of
        self._bytes = 0

    def close(self) -> None:
        """Close the connection; what is being checked fails."""
        if self._connection:
            self._connection.interrupt()
        self._checking.close()
        if self._connection:
            self._connection.close()

    def rows(self, where: Where, until: float = math.inf) -> Rows:
        """Return the rows of the passages of all documents of which the condition holds, all as of one moment.

        FilterUnfinished if they are not known by `until`, in `time.monotonic()` seconds.
        """
        revision = self._revision()
        rows = self._remembered(where, revision)
        if rows is not None:
            return rows
        with self._lock:
            key = where, revision
            if key not in self._running:
                self._running[key] = _Check(self._checking.submit(partial(self._check, where, revision)))
            check = self._running[key]
            check.waiting += 1
        try:
            return check.rows.result(None if until == math.inf else max(0.0, until - time.monotonic()))
        except TimeoutError:
            raise FilterUnfinished("the filter takes longer than there is time; ask again") from None
        finally:
            with self._lock:
                check.waiting -= 1
                if not check.waiting and check.rows.cancel():  # it has not begun
                    del self._running[key]

    def read(self, reads: Callable[[Connection, float], T]) -> T:
        """Return what is read with the connection of filters, in its thread: all else is read meanwhile.

        reads: is given the connection, and the time at which FilterUnfinished must end it.
        """
        return self._checking.submit(partial(self._read, reads)).result()

    def _read(self, reads: Callable[[Connection, float], T]) -> T:
        self._connection = self._connection or Connection(self._folder)
        return reads(self._connection, time.monotonic() + _LONGEST_S)

    def _check(self, where: Where, revision: int) -> Rows:
        try:
            rows = self._read(lambda connection, until: SegmentTable(connection).rows(where, until))
            if self._revision() == revision:  # else they may be of either
                self._remember(where, rows, revision)
            return rows
        finally:
            with self._lock:
                del self._running[where, revision]

    def _remembered(self, where: Where, revision: int) -> Rows | None:
        with self._lock:
            if revision != self._of:
                self._known.clear()
                self._of, self._bytes = revision, 0
            if where in self._known:
                self._known.move_to_end(where)
            return self._known.get(where)

    def _remember(self, where: Where, rows: Rows, revision: int) -> None:
        with self._lock:
            if self._of != revision:  # a later one was asked for meanwhile
                return
            self._known[where] = rows
            self._bytes += size_of(where, rows)
            while self._bytes > self._most_bytes:
                self._bytes -= size_of(*self._known.popitem(last=False))


def size_of(where: Where, rows: Rows) -> int:
    """Return about how many bytes a condition and its rows take."""
    values = sum(len(value) for value in where.values if isinstance(value, str))
    return _OVERHEAD_BYTES + len(where.sql) + values + sum(of.nbytes for of in rows.values())
