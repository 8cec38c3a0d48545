"""The schedule of reading: in what order candidates are encoded, and when encoding must end for a deadline."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.ranking.candidates import Candidates
from app.ranking.job import Job
from retrieval.deadline import Deadline

_LEARNING = 0.001  # weight of one chunk in the learned cost of scoring, up to `_MOST` of them
_MOST = 100
_ANSWER_S = 0.01  # kept of a deadline for the way in and out
_FOR_ENCODING = 0.5  # of the time left, at least so much: a cost once learned too high must not stop all learning


@dataclass
class Pace:
    """The learned costs of scoring. Threads may share it: a lost update is soon made up for."""

    cost: float = 0.0  # seconds to score one chunk that has its states
    wait: float = 0.0  # seconds that a request waits for processors

    def encode_until(self, deadline: Deadline, to_score: int) -> float:
        """When encoding must end for so many chunks to be scored in time, in `time.monotonic()` seconds."""
        left = max(0.0, deadline.at - time.monotonic() - _ANSWER_S)
        reserve = min(self.wait + to_score * self.cost, left * (1 - _FOR_ENCODING))
        return deadline.at - _ANSWER_S - reserve

    def learn(self, ms: Mapping[str, float], chunks: int) -> None:
        """Learn from a request. ms: milliseconds by stage. chunks: how many it scored."""
        self.wait += _LEARNING * _MOST * (ms["wait"] / 1e3 - self.wait)
        if chunks:
            seconds = sum(ms.get(stage, 0.0) for stage in ("join", "classical", "quantum", "fuse")) / 1e3
            weight = 1.0 if self.cost == 0 else _LEARNING * min(chunks, _MOST)
            self.cost += weight * (seconds / chunks - self.cost)


_BATCH = 100  # documents that are cut at once, and chunks whose states are held and scored at once
_FIRST_STOPS = (8, 24, 56)  # so many of the first chunks are scored before the rest, where progress is reported


@dataclass(frozen=True)
class Part:
    """At most 100 chunks that are scored together. The same part may come again with more of them."""

    number: int
    owners: NDArray[np.int64]  # (c,) the documents that the chunks belong to
    chunks: NDArray[np.int64]  # (c,) their numbers for `candidates.states`, valid until the next part
    incomplete: bool  # whether the deadline left any chunk unread so far
    more: bool  # whether another part, or more of this one, follows


def parts(candidates: Candidates, promising: NDArray[np.int64], job: Job, pace: Pace) -> Iterator[Part]:
    """Have the (m,) promising documents encoded part by part: memory grows neither with m nor with their lengths.

    Each document is first read where it promises most. Where partial rankings are reported, the first part comes in
    pieces.
    """
    number = scored = 0
    incomplete, watch, deadline = candidates.late, job.watch, job.deadline
    for start in range(0, len(promising), _BATCH):
        batch, later = promising[start : start + _BATCH], promising[start + _BATCH :]
        ready = int(np.count_nonzero(candidates.ready[later]))
        with watch("encode"):
            owners = candidates.split(batch, job.terms, pace.encode_until(deadline, scored + len(batch) + ready))
        incomplete |= len(np.unique(owners)) < len(batch)
        for begin in range(0, max(1, len(owners)), _BATCH):  # once at least, to say that nothing was read
            chunks = np.arange(begin, min(begin + _BATCH, len(owners)))
            before, first = incomplete, _FIRST_STOPS if job.report and number == 0 else ()
            for stop in (*(stop for stop in first if stop < len(chunks)), len(chunks)):
                with watch("encode"):
                    until = pace.encode_until(deadline, scored + len(chunks) + ready)
                    encoded = candidates.encode(chunks[:stop], until, deadline)
                incomplete = before or len(encoded) < stop
                more = begin + stop < len(owners) or len(later) > 0
                yield Part(number, owners[encoded], encoded, incomplete, more)
            number, scored = number + 1, scored + len(encoded)
