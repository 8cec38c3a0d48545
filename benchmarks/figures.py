"""Everything that one run measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.measure import Sample
from benchmarks.roofline import Roofline
from benchmarks.scaling import Concurrency, Memory

RATIO_DOCUMENTS = 100


@dataclass
class Figures:
    """One run's figures; what was not measured is None or empty."""

    machine: dict[str, str]
    others: dict[str, float] = field(default_factory=dict)  # processors that others' work took, by part of the run
    peer_versions: dict[str, str] = field(default_factory=dict)
    latencies: list[Sample] = field(default_factory=list)
    tokens: list[Sample] = field(default_factory=list)
    concurrency: Concurrency | None = None
    memory: Memory | None = None
    roofline: Roofline | None = None
    handover_us: Sequence[float] = ()

    @property
    def rows(self) -> list[str]:
        """The latency table's rows, in the order in which they were measured."""
        return list(dict.fromkeys(sample.row for sample in self.latencies))

    @property
    def sizes(self) -> list[int]:
        """Numbers of documents that were ranked, ascending."""
        return sorted({sample.documents for sample in self.latencies})

    def cell(self, row: str, documents: int) -> Sample | None:
        """A row's sample for so many documents, if it was measured."""
        return next((s for s in self.latencies if s.row == row and s.documents == documents), None)

    def ratio(self, ours: str, peer: str, documents: int = RATIO_DOCUMENTS) -> float | None:
        """How many times faster we are than a peer, by medians."""
        mine, theirs = self.cell(ours, documents), self.cell(peer, documents)
        return theirs.p50 / mine.p50 if mine and theirs else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON, with what is derived beside what was measured."""
        raw = asdict(self)
        for name in ("latencies", "tokens"):
            for sample, row in zip(getattr(self, name), raw[name], strict=True):
                row |= {"p50": sample.p50, "p95": sample.p95, "mean_encoded": sample.mean_encoded}
        if self.roofline:
            raw["roofline"] |= {"reached": self.roofline.reached, "least_ms": self.roofline.least_ms}
        return raw
