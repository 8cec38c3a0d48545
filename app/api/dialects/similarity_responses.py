"""What the similarity routes answer, for the documentation. The tests hold real responses to it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.dialects.responses import Usage
from app.ranking.scoring import Method

_CLASSICAL = "(1 + cosine)/2 of the pooled vectors."
_QUANTUM = "Mean over the query's tokens of the best fidelity with a token of the other text, as /rerank's `quantum`."
_HYBRID = "Weighted mean of these two; see `weights`. A pair has no z-scores, so this is not /rerank's `hybrid`."


class _Exact(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class MethodScores(_Exact):
    """One pair's score by each method; of other pairs and requests, too, they may be compared."""

    classical: float = Field(ge=0, le=1, description=_CLASSICAL)
    quantum: float = Field(ge=0, le=1, description=_QUANTUM)
    hybrid: float = Field(ge=0, le=1, description=_HYBRID)


class ClassicalDetail(_Exact):
    """What the classical score is made of."""

    cosine: float = Field(ge=-1, le=1, description="Of the pooled vectors.")


class QuantumDetail(_Exact):
    """What the quantum score is made of."""

    fidelity: float = Field(ge=0, le=1, description=_QUANTUM)
    map: str = Field(description="How vectors become angles.")
    bandwidth: float = Field(description="Radians per unit of a feature.")
    qubits: int = Field(description="Of one register's circuit.")
    depth: int = Field(description="Of one register's compute-uncompute circuit, in the gates ry, rz and cx.")
    registers: int = Field(description="That hold one token's vector; their fidelities are multiplied.")


class HybridDetail(_Exact):
    """What the hybrid score is made of."""

    weights: dict[str, float] = Field(description="Of the other two scores; their sum is 1.")


class Details(_Exact):
    """How the scores came about, by method."""

    classical: ClassicalDetail
    quantum: QuantumDetail
    hybrid: HybridDetail


class SimilarityResponse(_Exact):
    """How well the second text answers the first."""

    id: str
    object: Literal["similarity"]
    model: str
    method: Method
    similarity: float = Field(ge=0, le=1, description="The score of the method.")
    scores: MethodScores
    details: Details
    usage: Usage
    timings_ms: dict[str, float]


class Match(_Exact):
    """One document's score for one query."""

    index: int = Field(description="Position among the documents sent.")
    similarity: float = Field(ge=0, le=1)
    scores: Annotated[MethodScores, Field(None, description="With explain.")]


class QueryMatches(_Exact):
    """One query's matches."""

    index: int = Field(description="Position among the queries sent.")
    matches: list[Match] = Field(description="Best first, equals in the order of the documents.")


class BatchSimilarityResponse(_Exact):
    """The matches of each query, in the order of the queries."""

    id: str
    object: Literal["batch_similarity"]
    model: str
    method: Method
    results: list[QueryMatches]
    usage: Usage
    timings_ms: dict[str, float]
