"""What each stage of a search costs a processor: the rows that `benchmarks.large_collection` prints of one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from quantum.feature_maps import feature_map
from quantum.kernel import gram
from quantum.maxsim import best_fidelities
from retrieval.encoder.protocol import Encoder
from retrieval.encoder.states import Encoded, ScatteredStates
from retrieval.index.first_stage import BOTH
from retrieval.store.snapshot import Snapshot
from retrieval.text.bm25 import QueryTerms, bm25

CANDIDATES, TOGETHER, TIMES = 100, 8, 3
_JOINED = f"– {TOGETHER} together, each"


def stage_ms(snapshot: Snapshot, encoder: Encoder, asked: Sequence[str]) -> dict[str, float]:
    """Return the processor milliseconds of each stage by name: of some queries the mean, of each the least time."""
    spent: dict[str, list[float]] = {}
    vectors = encoder.encode(asked, "query").pooled
    threadpool_limits(1, user_api="blas")  # as when serving; only this thread's time is counted
    for at, query in enumerate(asked):
        near = vectors[(at + np.arange(TOGETHER)) % len(vectors)]
        for name, stage in _stages(snapshot, encoder.encode([query], "query"), QueryTerms.of(query), near).items():
            searches = TOGETHER if name == _JOINED else 1
            spent.setdefault(name, []).append(min(_processor_ms(stage) for _ in range(TIMES)) / searches)
    return {name: float(np.mean(ms)) for name, ms in spent.items()}


def _stages(
    snapshot: Snapshot, states: Encoded, words: QueryTerms, near: NDArray[np.float32]
) -> Mapping[str, Callable[[], object]]:
    """The stages of a search by name. near: (m, P) the vectors of this query and of others."""
    found = BOTH.search(snapshot, near[0], words, CANDIDATES)
    read = ScatteredStates.of([snapshot.states(found)])
    circuits = feature_map()
    return {
        "nearest vectors, searched for alone": lambda: snapshot.nearest(near[0], CANDIDATES),
        _JOINED: lambda: _announced(snapshot, near),
        "BM25 over the collection": lambda: snapshot.matching(words, CANDIDATES),
        f"texts of {CANDIDATES} candidates": lambda: snapshot.passages(found),
        "their terms, and BM25 over them": lambda: bm25(words, snapshot.terms(found)),
        "their states": lambda: ScatteredStates.of([snapshot.states(found)]),
        "fidelities": lambda: best_fidelities(circuits, states.tokens, read.tokens, read.offsets, read.scales),
        "Gram matrix": lambda: gram(circuits, read.pooled),
    }


def _announced(snapshot: Snapshot, near: NDArray[np.float32]) -> list[NDArray[np.int64]]:
    """What searches find that are announced before the first one is made."""
    return [find(CANDIDATES) for find in [snapshot.announce(vector, CANDIDATES) for vector in near]]


def _processor_ms(stage: Callable[[], object]) -> float:
    begun = time.thread_time()
    stage()
    return 1e3 * (time.thread_time() - begun)
