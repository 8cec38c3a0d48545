"""How well texts answer others, each pair for itself. Runs in a worker.

Of a query and a document, each in [0, 1] and whatever else is compared beside them:
- classical: (1 + cos)/2 of their pooled vectors.
- quantum: the mean over the query's tokens of the best fidelity with a token of the document; what `Reranker.rerank`
  scores by with this method.
- hybrid: the calibrated probability that the document is relevant, which `/rerank` gives it where it is alone.
Long documents are read chunk by chunk, and the best one counts. The query is not the document: swapping them gives
another quantum score.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.engine.admission import pieces
from app.engine.engine import ModelRegistry
from app.errors import TooLarge, TooLate
from app.quotas.quotas import Cost
from app.ranking.calibration import probability
from app.ranking.job import Lap, Stopwatch, milliseconds
from app.ranking.methods import BASE, DEFAULT_METHOD, Method
from app.ranking.reranker import Reranker
from app.service.request import ResolvedRequest, checked, deadline_of, units_of_queries
from app.settings import LimitSettings, Settings
from quantum.gates import check_limits
from retrieval.deadline import Deadline
from retrieval.encoder.chunks import Reading
from retrieval.text.limits import runs

# Documents that are scored for all queries before the next are read: their states must stay cached meanwhile.
_PART_DOCUMENTS = 100
_PART_CHARACTERS = 200_000


@dataclass(frozen=True)
class Circuit:
    """What scores one pair of tokens."""

    map: str
    bandwidth: float  # radians per unit of a feature
    qubits: int  # of one register
    depth: int  # of one register's compute-uncompute circuit, transpiled
    registers: int  # that hold one token


@dataclass(frozen=True)
class Similarities:
    """Of n queries with m documents."""

    rankers: Mapping[str, NDArray[np.float64]]  # (n, m) each: cosines as "classical", fidelities as "quantum"
    log_odds: NDArray[np.float64]  # (n, m) of a document's being relevant, by all that the method looks at
    coverage: NDArray[np.float64]  # (n, m) share of the query's words that are in the document, weighted by rarity
    tokens: int  # that the encoder read for them, now or once; equal documents count once
    laps: Sequence[Lap]

    @property
    def timings_ms(self) -> dict[str, float]:
        """Milliseconds spent in each stage."""
        return milliseconds(self.laps)

    def of(self, method: Method) -> NDArray[np.float64]:
        """(n, m) scores in [0, 1]; KeyError for a method whose rankers were not asked for."""
        if method == "quantum":
            return self.rankers["quantum"]
        if method == "classical":
            return (1 + self.rankers["classical"]) / 2
        return probability(self.log_odds)


class PairsBody(Protocol):
    """What a body decides besides its texts."""

    @property
    def method(self) -> Method | None:
        """Absent: the model's alias says, or hybrid."""

    @property
    def deadline_ms(self) -> float | None:
        """Absent or 0: the longest, for what is late here is no answer at all."""

    @property
    def model(self) -> Any:
        """In any form."""


Body = TypeVar("Body", bound=PairsBody)


@dataclass(frozen=True)
class ResolvedPairs(ResolvedRequest[Body]):
    """A request to compare queries with documents, which are its `texts`."""

    queries: Sequence[str]
    method: Method
    needed: Method  # whose rankers are computed


def resolve(
    asked: Body,
    queries: Sequence[str],
    texts: Sequence[str],
    models: ModelRegistry,
    settings: Settings,
    caller: str,
    *,
    explain: bool,
) -> ResolvedPairs[Body]:
    """Decide everything about a request to compare. explain: every method is told. TooLarge over a limit."""
    limits = settings.limits
    _check_queries(queries, limits)
    choice = models.choose(asked.model)
    method = asked.method or BASE[choice.method or DEFAULT_METHOD]
    needed: Method = "hybrid" if explain else method
    units = pieces(texts, limits.chunks_per_document)
    cost = Cost(len(texts), len(queries) * units + units_of_queries(queries), needed)
    reading = Reading(max_chunks=limits.chunks_per_document)
    deadline = deadline_of(asked.deadline_ms or 0, settings, caller)
    return ResolvedPairs(asked, choice, method, texts, reading, deadline, checked(cost, limits), queries, needed)


def _check_queries(queries: Sequence[str], limits: LimitSettings) -> None:
    if len(queries) > limits.queries:
        raise TooLarge(f"{len(queries)} queries were sent and at most {limits.queries} are taken; send them in parts")
    longest = max(map(len, queries))
    if longest > limits.query_characters:
        raise TooLarge(f"a query has {longest} characters and at most {limits.query_characters} are taken")


def circuit_of(reranker: Reranker) -> Circuit:
    """The circuit that the quantum method simulates for each register."""
    states = reranker.feature_map
    size = check_limits(states)
    return Circuit(
        states.name, states.bandwidth, size.qubits, size.depth, states.register_count(reranker.encoder.token_dimension)
    )


def compare(
    reranker: Reranker,
    queries: Sequence[str],
    documents: Sequence[str],
    *,
    method: Method = "hybrid",
    deadline: Deadline | None = None,
    reading: Reading | None = None,
) -> Similarities:
    """Score n ≥ 1 non-empty queries with m ≥ 1 documents.

    method: only its rankers are computed; hybrid has both. reading: of each document.
    TooLate where the deadline does not leave time to read all and begin to score all; Cancelled when it is cancelled;
    EncoderUnavailable where an encoder on another machine fails, RuntimeError where a ranker does.
    """
    deadline, reading, watch = deadline or Deadline(), reading or Reading(), Stopwatch()
    with watch("encode_query"):
        asked = reranker.source.encode_query(queries, deadline.at, deadline)
    if asked is None:
        raise _too_late()
    distinct = list(dict.fromkeys(documents))  # equal texts are compared once, and so to the same last bit
    names = ("classical", "quantum") if method == "hybrid" else (method,)
    values = {name: np.empty((len(queries), len(distinct))) for name in (*names, "log_odds", "coverage")}
    tokens = int(asked.lengths.sum())
    for part, (row, query) in product(
        runs([len(text) for text in distinct], _PART_CHARACTERS, _PART_DOCUMENTS), enumerate(queries)
    ):
        deadline.check()
        if time.monotonic() >= deadline.at:
            raise _too_late()
        ranked = reranker.rerank(query, distinct[part], method=method, deadline=deadline, reading=reading)
        if ranked.incomplete:
            raise ranked.unavailable or _too_late()
        if ranked.dropped:  # a ranking is one without it, too; a score is not
            raise RuntimeError(f"texts cannot be compared: the ranker {ranked.dropped[0]} failed")
        for name, of in {**ranked.rankers, **ranked.evidence, "log_odds": ranked.log_odds}.items():
            if name in values:
                values[name][row, part] = of
        watch.laps.extend(ranked.laps)
        tokens += ranked.tokens - int(asked.lengths[0]) if row == 0 else 0
    of_each = _for_each(documents, distinct, values)
    log_odds, coverage = of_each.pop("log_odds"), of_each.pop("coverage")
    return Similarities(of_each, log_odds, coverage, tokens, watch.laps)


def _for_each(
    documents: Sequence[str], distinct: Sequence[str], rankers: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """(n, u) values of the distinct texts as (n, m) of the documents."""
    column = {text: at for at, text in enumerate(distinct)}
    columns = [column[text] for text in documents]
    return {name: values[:, columns] for name, values in rankers.items()}


def _too_late() -> TooLate:
    return TooLate(
        "not all of the texts could be compared by the deadline; send fewer, or a later `deadline_ms`, or none"
    )
