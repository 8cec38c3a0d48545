"""Samples of times, and what is said of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest of the values that at least this share of them does not exceed; of few values that is the largest.

    ValueError for no values or a share outside (0, 1].
    """
    ordered = sorted(values)
    if not ordered or not 0 < share <= 1:
        raise ValueError(f"no percentile {share} of {len(ordered)} values")
    return ordered[math.ceil(share * len(ordered)) - 1]


@dataclass(frozen=True)
class Sample:
    """One cell of the latency table: a row's times for so many documents."""

    row: str
    documents: int
    ms: Sequence[float]  # one a request
    encoded: Sequence[int] = ()  # of each request's documents, how many were scored by their states; ours only
    outside_ms: Sequence[float] = ()  # of each request's time, what none of the server's stages took; ours only

    @property
    def p50(self) -> float:
        """Median milliseconds."""
        return percentile(self.ms, 0.5)

    @property
    def p95(self) -> float:
        """Milliseconds that 95 % of the requests stayed within."""
        return percentile(self.ms, 0.95)

    @property
    def mean_encoded(self) -> float | None:
        """Documents scored by their states, on average; None where that is not told."""
        return mean(self.encoded) if self.encoded else None
