"""In what order candidates are read: batch by batch, chunk by chunk, as much at a time as is held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.ranking.candidates import Candidates
from app.ranking.pace import Pace
from app.ranking.stopwatch import Stopwatch
from retrieval.deadline import Deadline

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
