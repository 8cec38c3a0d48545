"""How well texts answer others, one pair or every query with every document: requests in, responses out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.api.dialects.body import Count, Documents, Model, Number, Phrases, Query
from app.api.dialects.documents import text_of
from app.api.dialects.schema import Exact, Usage
from app.ranking.methods import Method
from app.service.similarity import Circuit, Similarities
from retrieval.fusion import ranking


def _some(value: object) -> object:
    if value == []:
        raise ValueError("must hold at least one entry")
    return value


def _one_name(body: object, names: Mapping[str, Sequence[str]]) -> object:
    """Each field by its first name; ValueError where it was sent under two, with different values."""
    if not isinstance(body, dict):
        return body
    renamed = dict(body)
    for name, others in names.items():
        sent = [other for other in (name, *others) if body.get(other) is not None]
        for other in sent[1:]:
            if body[other] != body[sent[0]]:
                raise ValueError(f"send either `{sent[0]}` or `{other}`, not both")
        if sent:
            renamed[name] = body[sent[0]]
    return renamed


Milliseconds = Annotated[
    float | None,
    Field(
        ge=0,
        le=600_000,
        allow_inf_nan=False,
        description="When the answer is due, or 504. Absent or 0: as late as may be.",
    ),
    Number,
]
Wanted = Annotated[Method | None, Field(description="Which score is `similarity`. Absent: hybrid, or the alias's.")]


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

    text1: Query = Field(description="What is asked. Also taken as `query`.")
    text2: str = Field(description="What may answer it. Also taken as `document` or `text`.")
    method: Wanted = None
    deadline_ms: Milliseconds = None
    model: Model

    @model_validator(mode="before")
    @classmethod
    def _take_other_names(cls, body: object) -> object:
        return _one_name(body, {"text1": ["query"], "text2": ["document", "text"]})


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

    queries: Annotated[Phrases, BeforeValidator(_some)] = Field(description="Texts, or one. Also taken as `query`.")
    documents: Annotated[Documents, BeforeValidator(_some)] = Field(
        description="Texts, or objects with a `text`. Also taken as `candidates`."
    )
    top_k: Count | None = Field(None, description="How many matches of each query; absent: all. Also taken as `top_n`.")
    threshold: Annotated[float, Field(ge=0, le=1), Number] | None = Field(
        None, description="Only matches at or above it."
    )
    explain: bool | None = Field(None, description="Give each match's score by method.")
    method: Wanted = None
    deadline_ms: Milliseconds = None
    model: Model

    @model_validator(mode="before")
    @classmethod
    def _take_other_names(cls, body: object) -> object:
        return _one_name(body, {"queries": ["query"], "documents": ["candidates"], "top_k": ["top_n"]})

    def texts(self) -> list[str]:
        """What is compared of each document; InvalidRequest for one without text."""
        return [text_of(document, at) for at, document in enumerate(self.documents)]


def respond(found: Similarities, method: Method, circuit: Circuit, model: str, request_id: str) -> dict[str, Any]:
    """The similarity of one pair, with all that is known of it."""
    scores = {name: float(found.of(name)[0, 0]) for name in ("classical", "quantum", "hybrid")}
    return {
        "id": request_id,
        "object": "similarity",
        "model": model,
        "method": method,
        "similarity": scores[method],
        "scores": scores,
        "details": {
            "classical": {"cosine": float(found.rankers["classical"][0, 0])},
            "quantum": {"fidelity": scores["quantum"], **asdict(circuit)},
            "hybrid": {"weights": dict(found.weights)},
        },
        **_costs(found),
    }


def respond_to_batch(
    found: Similarities, body: BatchSimilarityBody, method: Method, model: str, request_id: str
) -> dict[str, Any]:
    """Each query's matches, best first."""
    names: tuple[Method, ...] = ("classical", "quantum", "hybrid") if body.explain else ()
    similarities, scores = found.of(method), {name: found.of(name) for name in names}
    results = []
    for at, row in enumerate(similarities):
        order = ranking(row)
        chosen = order[row[order] >= (body.threshold or 0)][: body.top_k]
        matches = [
            {"index": index, "similarity": similarity}
            for index, similarity in zip(chosen.tolist(), row[chosen].tolist(), strict=True)
        ]
        if scores:
            by_method = np.stack([values[at, chosen] for values in scores.values()], axis=1).tolist()
            for match, values in zip(matches, by_method, strict=True):
                match["scores"] = dict(zip(scores, values, strict=True))
        results.append({"index": at, "matches": matches})
    return {
        "id": request_id,
        "object": "batch_similarity",
        "model": model,
        "method": method,
        "results": results,
        **_costs(found),
    }


def _costs(found: Similarities) -> dict[str, Any]:
    return {
        "usage": {"prompt_tokens": found.tokens, "completion_tokens": 0, "total_tokens": found.tokens},
        "timings_ms": {stage: round(ms, 3) for stage, ms in found.timings_ms.items()},
    }


_CLASSICAL = "(1 + cosine)/2 of the pooled vectors."
_QUANTUM = "Mean over the query's tokens of the best fidelity with a token of the other text, as /rerank's `quantum`."
_HYBRID = "Weighted mean of these two; see `weights`. A pair has no z-scores, so this is not /rerank's `hybrid`."


class MethodScores(Exact):
    """One pair's score by each method; of other pairs and requests, too, they may be compared."""

    classical: float = Field(ge=0, le=1, description=_CLASSICAL)
    quantum: float = Field(ge=0, le=1, description=_QUANTUM)
    hybrid: float = Field(ge=0, le=1, description=_HYBRID)


class ClassicalDetail(Exact):
    """What the classical score is made of."""

    cosine: float = Field(ge=-1, le=1, description="Of the pooled vectors.")


class QuantumDetail(Exact):
    """What the quantum score is made of."""

    fidelity: float = Field(ge=0, le=1, description=_QUANTUM)
    map: str = Field(description="How vectors become angles.")
    bandwidth: float = Field(description="Radians per unit of a feature.")
    qubits: int = Field(description="Of one register's circuit.")
    depth: int = Field(description="Of one register's compute-uncompute circuit, in the gates ry, rz and cx.")
    registers: int = Field(description="That hold one token's vector; their fidelities are multiplied.")


class HybridDetail(Exact):
    """What the hybrid score is made of."""

    weights: dict[str, float] = Field(description="Of the other two scores; their sum is 1.")


class Details(Exact):
    """How the scores came about, by method."""

    classical: ClassicalDetail
    quantum: QuantumDetail
    hybrid: HybridDetail


class SimilarityResponse(Exact):
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


class Match(Exact):
    """One document's score for one query."""

    index: int = Field(description="Position among the documents sent.")
    similarity: float = Field(ge=0, le=1)
    scores: Annotated[MethodScores, Field(None, description="With explain.")]


class QueryMatches(Exact):
    """One query's matches."""

    index: int = Field(description="Position among the queries sent.")
    matches: list[Match] = Field(description="Best first, equals in the order of the documents.")


class BatchSimilarityResponse(Exact):
    """The matches of each query, in the order of the queries."""

    id: str
    object: Literal["batch_similarity"]
    model: str
    method: Method
    results: list[QueryMatches]
    usage: Usage
    timings_ms: dict[str, float]
