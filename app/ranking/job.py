"""One request on its way through the pipeline: what it asked, how long each stage takes, and what comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.ranking.methods import METHODS, Method
from retrieval.deadline import Deadline
from retrieval.fusion import ranking
from retrieval.text.bm25 import tokenize
from retrieval.text.limits import most_code_points
from retrieval.text.sentences import VISIBLE


class Lap(NamedTuple):
    """One time that a stage was gone through."""

    stage: str
    start: float  # `time.perf_counter()` seconds
    seconds: float


def milliseconds(laps: Iterable[Lap]) -> dict[str, float]:
    """Milliseconds spent in each stage, summed where it came again, in the order of their ends."""
    ms: dict[str, float] = {}
    for stage, _, seconds in laps:
        ms[stage] = ms.get(stage, 0.0) + seconds * 1e3
    return ms


@dataclass
class Stopwatch:
    """The laps so far, in the order of their ends."""

    laps: list[Lap] = field(default_factory=list)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the time of the block to this stage, also when it raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.since(stage, start)

    def since(self, stage: str, start: float) -> None:
        """Count the time since this `time.perf_counter()` to a stage."""
        self.laps.append(Lap(stage, start, time.perf_counter() - start))

    @property
    def ms(self) -> dict[str, float]:
        """Milliseconds spent in each stage."""
        return milliseconds(self.laps)


_QUERY_CODE_POINTS = most_code_points(4096)  # of a query in which words are looked for: more than any model reads


@dataclass(frozen=True)
class Scores:
    """The scores of n documents by what was read of them so far."""

    fused: NDArray[np.float64]  # (n,) in [0, 1]
    rankers: Mapping[str, NDArray[np.float64]]  # (n,) each; NaN for a document without states
    encoded: int = 0  # documents of which a chunk was scored
    tokens: int = 0  # that the encoder read, now or once, for the chunks
    chunks: int = 0  # that were scored


@dataclass(frozen=True)
class Ranking:
    """n documents ranked."""

    order: NDArray[np.int64]  # (n,) positions, best first
    scores: NDArray[np.float64]  # (n,) in input order, in [0, 1]
    rankers: Mapping[str, NDArray[np.float64]]  # (n,) each, in input order; NaN for a document that was not encoded
    encoded: int  # documents of which a chunk at least was read; the rest stand below them in pre-score order
    incomplete: bool  # whether the deadline left documents, or chunks of them, unread
    tokens: int  # that the encoder read, now or once, for these states, the query's among them
    truncated: int = 0  # documents in which so much holds no words that their ends were not looked at
    cached: int = 0  # documents whose states were cached when the job began
    laps: Sequence[Lap] = ()

    @property
    def timings_ms(self) -> dict[str, float]:
        """Milliseconds spent in each stage."""
        return milliseconds(self.laps)


@dataclass
class Job:
    """One request, and how far it has come."""

    query: str
    method: Method
    exclude: Sequence[str] = ()
    encode_limit: int | None = None
    deadline: Deadline = field(default_factory=Deadline)
    report: Callable[[Ranking], None] | None = None  # gets partial rankings
    watch: Stopwatch = field(default_factory=Stopwatch)
    query_tokens: int = 0  # of the query and of what it excludes
    cached: int = 0  # documents whose states were cached when the job began
    incomplete: bool = False
    truncated: int = 0

    def __post_init__(self) -> None:
        """ValueError for what cannot be ranked by."""
        if self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}; choose one of {', '.join(METHODS)}")
        if self.encode_limit is not None and self.encode_limit < 1:
            raise ValueError(f"encode_limit must be at least 1, or None for all; got {self.encode_limit}")
        if any(not VISIBLE.search(text) for text in (self.query, *self.exclude)):
            raise ValueError("the query and the excluded texts must not be empty")
        self.terms = tokenize(self.query[:_QUERY_CODE_POINTS])

    def ranking(self, scores: Scores) -> Ranking:
        """The ranking by these scores. It copies the laps so far: the job goes on."""
        order, laps, tokens = ranking(scores.fused), tuple(self.watch.laps), self.query_tokens + scores.tokens
        done = (scores.encoded, self.incomplete, tokens, self.truncated, self.cached, laps)
        return Ranking(order, scores.fused, scores.rankers, *done)
