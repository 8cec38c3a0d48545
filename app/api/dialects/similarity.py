"""Requests and responses of similarity: one pair of texts, or every query with every document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.dialects.body import Count, Documents, Model, Number, Phrases, Query
from app.api.dialects.cohere import usage
from app.api.dialects.documents import text_of
from app.api.dialects.schema import Exact, Usage
from app.ranking.methods import Method
from app.service.similarity import Circuit, Similarities
from retrieval.fusion import ranking


def _rename_aliases(body: object, names: Mapping[str, Sequence[str]]) -> object:
    """Rename alias fields to the canonical names; ValueError if two names of a field have different values."""
    if not isinstance(body, dict):
        return body
    renamed = dict(body)
    for name, aliases in names.items():
        present = [alias for alias in (name, *aliases) if body.get(alias) is not None]
        for alias in present[1:]:
            if body[alias] != body[present[0]]:
                raise ValueError(f"send either `{present[0]}` or `{alias}`, not both")
        if present:
            renamed[name] = body[present[0]]
    return renamed


Milliseconds = Annotated[
    float | None,
    Field(
        ge=0,
        le=600_000,
        allow_inf_nan=False,
        description="Milliseconds until the response, else 504. Absent or 0: the longest deadline allowed.",
    ),
    Number,
]
MethodField = Annotated[
    Method | None, Field(description="The method whose score is `similarity`. Absent: the model alias's, or hybrid.")
]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class SimilarityBody(_Body):
    """Two texts."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text1": "which bird sings at night", "text2": "The nightingale sings after dusk.", "method": "hybrid"}
            ]
        }
    )

    text1: Query = Field(description="The query. Alias: `query`.")
    text2: str = Field(description="The text to compare with it. Aliases: `document`, `text`.")
    method: MethodField = None
    deadline_ms: Milliseconds = None
    model: Model

    @model_validator(mode="before")
    @classmethod
    def _accept_aliases(cls, body: object) -> object:
        return _rename_aliases(body, {"text1": ["query"], "text2": ["document", "text"]})


class BatchSimilarityBody(_Body):
    """Queries and documents."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "queries": ["which bird sings at night", "what do owls eat"],
                    "documents": ["The nightingale sings after dusk.", "Owls hunt mice."],
                    "top_k": 1,
                }
            ]
        }
    )

    queries: Annotated[Phrases, Field(min_length=1)] = Field(description="A text or a list of texts. Alias: `query`.")
    documents: Documents = Field(description="Texts, or objects with a `text`. Alias: `candidates`.")
    top_k: Count | None = Field(None, description="Number of matches per query; absent: all. Alias: `top_n`.")
    threshold: Annotated[float, Field(ge=0, le=1), Number] | None = Field(
        None, description="Minimum similarity of a match."
    )
    explain: bool | None = Field(None, description="Return each match's score by method.")
    method: MethodField = None
    deadline_ms: Milliseconds = None
    model: Model

    @model_validator(mode="before")
    @classmethod
    def _accept_aliases(cls, body: object) -> object:
        return _rename_aliases(body, {"queries": ["query"], "documents": ["candidates"], "top_k": ["top_n"]})

    def texts(self) -> list[str]:
        """The text of each document; InvalidRequest for one without text."""
        return [text_of(document, index) for index, document in enumerate(self.documents)]


def respond(
    similarities: Similarities, method: Method, circuit: Circuit, model: str, request_id: str
) -> dict[str, Any]:
    """The similarity of one pair, with the scores of all methods and their details."""
    scores = {name: float(similarities.of(name)[0, 0]) for name in ("classical", "quantum", "hybrid")}
    return {
        "id": request_id,
        "object": "similarity",
        "model": model,
        "method": method,
        "similarity": scores[method],
        "scores": scores,
        "details": {
            "classical": {"cosine": float(similarities.rankers["classical"][0, 0])},
            "quantum": {"fidelity": scores["quantum"], **asdict(circuit)},
            "hybrid": {
                "log_odds": float(similarities.log_odds[0, 0]),
                "coverage": float(similarities.coverage[0, 0]),
            },
        },
        **_usage_and_timings(similarities),
    }


def respond_to_batch(
    similarities: Similarities, body: BatchSimilarityBody, method: Method, model: str, request_id: str
) -> dict[str, Any]:
    """Each query's matches, best first."""
    names: tuple[Method, ...] = ("classical", "quantum", "hybrid") if body.explain else ()
    table, scores = similarities.of(method), {name: similarities.of(name) for name in names}
    results = []
    for query_index, row in enumerate(table):
        order = ranking(row)
        chosen = order[row[order] >= (body.threshold or 0)][: body.top_k]
        matches = [
            {"index": index, "similarity": similarity}
            for index, similarity in zip(chosen.tolist(), row[chosen].tolist(), strict=True)
        ]
        if scores:
            by_method = np.stack([values[query_index, chosen] for values in scores.values()], axis=1).tolist()
            for match, values in zip(matches, by_method, strict=True):
                match["scores"] = dict(zip(scores, values, strict=True))
        results.append({"index": query_index, "matches": matches})
    return {
        "id": request_id,
        "object": "batch_similarity",
        "model": model,
        "method": method,
        "results": results,
        **_usage_and_timings(similarities),
    }


def _usage_and_timings(similarities: Similarities) -> dict[str, Any]:
    return {
        "usage": usage(similarities.tokens),
        "timings_ms": {stage: round(ms, 3) for stage, ms in similarities.timings_ms.items()},
    }


_CLASSICAL = "(1 + cosine)/2 of the pooled vectors."
_QUANTUM = "Mean over the query's tokens of the best fidelity with a token of the other text, as /rerank's `quantum`."
_HYBRID = "Calibrated probability that the second text is relevant to the first: what /rerank gives a lone document."


class MethodScores(Exact):
    """One pair's score by each method; comparable across pairs and requests."""

    classical: float = Field(ge=0, le=1, description=_CLASSICAL)
    quantum: float = Field(ge=0, le=1, description=_QUANTUM)
    hybrid: float = Field(ge=0, le=1, description=_HYBRID)


class ClassicalDetail(Exact):
    """Details of the classical score."""

    cosine: float = Field(ge=-1, le=1, description="Cosine of the pooled vectors.")


class QuantumDetail(Exact):
    """Details of the quantum score."""

    fidelity: float = Field(ge=0, le=1, description=_QUANTUM)
    map: str = Field(description="The feature map, from vectors to angles.")
    bandwidth: float = Field(description="Radians per unit of a feature.")
    qubits: int = Field(description="Qubits of one register's circuit.")
    depth: int = Field(description="Depth of one register's compute-uncompute circuit, in the gates ry, rz and cx.")
    registers: int = Field(
        description="Number of registers that encode one token's vector; their fidelities are multiplied."
    )


class HybridDetail(Exact):
    """Details of the hybrid score."""

    log_odds: float = Field(description="log(p/(1 − p)) of the score p.")
    coverage: float = Field(
        ge=0, le=1, description="Share of the first text's words that are in the second, weighted by their rarity."
    )


class Details(Exact):
    """Details of the scores, by method."""

    classical: ClassicalDetail
    quantum: QuantumDetail
    hybrid: HybridDetail


class SimilarityResponse(Exact):
    """The similarity of the second text to the first."""

    id: str
    object: Literal["similarity"]
    model: str
    method: Method
    similarity: float = Field(ge=0, le=1, description="The score of the requested method.")
    scores: MethodScores
    details: Details
    usage: Usage
    timings_ms: dict[str, float]


class Match(Exact):
    """One document's score for one query."""

    index: int = Field(description="Position among the documents sent.")
    similarity: float = Field(ge=0, le=1)
    scores: Annotated[MethodScores, Field(None, description="With `explain`.")]


class QueryMatches(Exact):
    """One query's matches."""

    index: int = Field(description="Position among the queries sent.")
    matches: list[Match] = Field(description="Best first; ties in the order of the documents.")


class BatchSimilarityResponse(Exact):
    """The matches of each query, in the order of the queries."""

    id: str
    object: Literal["batch_similarity"]
    model: str
    method: Method
    results: list[QueryMatches]
    usage: Usage
    timings_ms: dict[str, float]
