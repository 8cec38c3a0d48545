"""In what order candidates are read: batch by batch, chunk by chunk, as much at a time as is held."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.ranking.candidates import Candidates
from app.ranking.job import Stopwatch
from retrieval.deadline import Deadline

_LEARNING = 0.001  # weight of one text in the learned cost of scoring, up to those of `_MOST`
_MOST = 100
_ANSWER_S = 0.01  # kept of a deadline for the way in and out
_FOR_ENCODING = 0.5  # of the time left, at least so much: a cost once learned too high must not stop all learning


class Pace:
    """What requests took, for those to come. Threads may share it: a lost update is soon made up for."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.cost = 0.0  # seconds to score one text that has its states
        self._wait = 0.0  # seconds that a request waits for processors

    def encode_until(self, deadline: Deadline, to_score: int) -> float:
        """When encoding must end, in `time.monotonic()` seconds, for so many texts to be scored in time."""
        left = max(0.0, deadline.at - time.monotonic() - _ANSWER_S)
        reserve = min(self._wait + to_score * self.cost, left * (1 - _FOR_ENCODING))
        return deadline.at - _ANSWER_S - reserve

    def learn(self, ms: Mapping[str, float], texts: int) -> None:
        """Learn from the milliseconds that each stage of a request took which scored so many texts."""
        self._wait += _LEARNING * _MOST * (ms["wait"] / 1e3 - self._wait)
        if texts:
            seconds = sum(ms.get(stage, 0.0) for stage in ("join", "classical", "quantum", "fuse")) / 1e3
            weight = 1.0 if self.cost == 0 else _LEARNING * min(texts, _MOST)
            self.cost += weight * (seconds / texts - self.cost)


_BATCH = 100  # documents that are cut at once, and chunks whose states are held and scored at once
_FIRST_STOPS = (8, 24, 56)  # so many of the first chunks are scored before the rest, where progress is reported


@dataclass(frozen=True)
class Part:
    """What there is now of at most 100 chunks that are scored together. The same part comes again with more of them."""

    number: int
    owners: NDArray[np.int64]  # (c,) the documents of the chunks that there are
    chunks: NDArray[np.int64]  # (c,) what `candidates.states` knows them by, until the next part
    unread: bool  # whether the deadline left any chunk unread so far
    more: bool  # whether there is more to come


def parts(
    candidates: Candidates,
    promising: NDArray[np.int64],
    query_terms: Sequence[str],
    deadline: Deadline,
    pace: Pace,
    watch: Stopwatch,
    *,
    small: bool,
) -> Iterator[Part]:
    """Have the (m,) promising documents encoded part by part, so that memory grows neither with them nor their lengths.

    Each document is first read where it promises most. small: let the first part come in pieces.
    """
    number = scored = 0
    unread = candidates.late
    for start in range(0, len(promising), _BATCH):
        batch, later = promising[start : start + _BATCH], promising[start + _BATCH :]
        ready = int(np.count_nonzero(candidates.ready[later]))
        with watch("encode"):
            until = pace.encode_until(deadline, scored + len(batch) + ready)
            owners = candidates.split(batch, query_terms, until)
        unread |= len(np.unique(owners)) < len(batch)
        for begin in range(0, max(1, len(owners)), _BATCH):  # once at least, to say that nothing was read
            chunks = np.arange(begin, min(begin + _BATCH, len(owners)))
            earlier, first = unread, _FIRST_STOPS if small and number == 0 else ()
            for stop in (*(stop for stop in first if stop < len(chunks)), len(chunks)):
                with watch("encode"):
                    until = pace.encode_until(deadline, scored + len(chunks) + ready)
                    there = candidates.encode(chunks[:stop], until, deadline)
                unread = earlier or len(there) < stop
                yield Part(number, owners[there], there, unread, begin + stop < len(owners) or len(later) > 0)
            number, scored = number + 1, scored + len(there)
