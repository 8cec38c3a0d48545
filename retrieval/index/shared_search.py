"""Searches of several threads that are made as one.

A search waits for memory: all vectors are read for it. So each thread announces its search before it waits for a
processor, and whoever gets one first searches for all that wait by then, and has their queries encoded for that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from retrieval.index.passage_index import Find, PendingVector

# From (m, P) queries and k to the (m, k') positions that are nearest to each.
Search = Callable[[NDArray[np.float32], int], NDArray[np.int64]]

_MOST = 8  # searches in one; whoever waits for them holds a processor


@dataclass(eq=False)
class _Announced:
    """A search that its thread is about to make."""

    query: PendingVector
    k: int
    found: Future[NDArray[np.int64]] = field(default_factory=Future)


class SharedSearch:
    """Joins the searches of several threads. Thread-safe."""

    def __init__(self, search: Search) -> None:
        """Take what makes several searches at once."""
        self._search = search
        self._lock = threading.Lock()
        self._waiting: list[_Announced] = []  # of one whose thread has ended the result is made once, for nobody

    def announce(self, query: PendingVector, k: int) -> Find:
        """Announce that the k positions nearest to a query will be asked for; returns what finds them."""
        mine = _Announced(query, k)
        with self._lock:
            self._waiting.append(mine)

        def find(count: int) -> NDArray[np.int64]:
            return self._result(mine) if count == k else self._search(query()[None, :], count)[0]

        return find

    def _result(self, mine: _Announced) -> NDArray[np.int64]:
        """What a search found, made now with others unless another thread has made or is making it."""
        with self._lock:
            batch = [each for each in self._waiting if each.k == mine.k] if mine in self._waiting else []
            batch = [mine, *(each for each in batch if each is not mine)][:_MOST] if batch else []
            self._waiting = [each for each in self._waiting if each not in batch]
        if batch:
            self._make(batch)
        return mine.found.result()

    def _make(self, batch: Sequence[_Announced]) -> None:
        asked = list[tuple[_Announced, NDArray[np.float32]]]()
        try:
            asked += ((each, vector) for each in batch if (vector := _vector(each)) is not None)
            found = self._search(np.stack([vector for _, vector in asked]), batch[0].k) if asked else ()
        except BaseException as error:
            for each in batch:
                if not each.found.done():
                    each.found.set_exception(error)
            raise
        for (each, _), positions in zip(asked, found, strict=True):
            each.found.set_result(positions)


def _vector(announced: _Announced) -> NDArray[np.float32] | None:
    """The vector of its query; None if there is none, which is an error for its own thread alone."""
    try:
        return announced.query()
    except Exception as error:  # noqa: BLE001 - raised where the result is asked for
        announced.found.set_exception(error)
        return None
