"""What each dialect's response looks like, for the documentation. The tests hold real responses to it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.ranking.scoring import Method

_NOTHING: Any = None


def _or_absent(description: str) -> Any:
    """A field that is left out, never null: clients crash on a null where they look for a value."""
    return Field(_NOTHING, description=description, json_schema_extra=_drop_default)


def _drop_default(schema: dict[str, Any]) -> None:
    del schema["default"]


class _Exact(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Usage(_Exact):
    """Tokens that the encoder read for this request, now or once."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class RelevantSpan(_Exact):
    """A sentence of a document: code points [start, end) of the text that was ranked."""

    start: int
    end: int
    score: float = Field(ge=0, le=1, description="Fidelity of the query with this sentence alone.")


class Result(_Exact):
    """One document's place."""

    index: int = Field(description="Position among the documents sent, or among those retrieved.")
    relevance_score: float = Field(description="In [0, 1], or log-odds; comparable within one response only.")
    document: dict[str, Any] | str = _or_absent(
        "Left out unless asked for or retrieved; text on /infinity/rerank and in `data`."
    )
    scores: dict[str, float | None] = _or_absent("With explain: each ranker's own score.")
    relevant_spans: list[RelevantSpan] = _or_absent("Best first; left out for a document not read.")


class Meta(_Exact):
    """How the answer came about."""

    method: Method
    timings_ms: dict[str, float]
    encoded: int = Field(description="Documents scored by their states.")
    degraded: list[str] = Field(
        description="Why the answer is less than it could be; empty when it is not. deadline: not all documents were "
        "read in time; truncated: the beginning of a document held too few words, its end was not looked at."
    )


class RerankResponse(_Exact):
    """The standard envelope, best result first."""

    id: str
    object: Literal["rerank"]
    model: str
    results: list[Result]
    data: list[Result] = _or_absent("On /v1/rerank: the results again, documents as text.")
    meta: Meta
    usage: Usage


class TeiRank(_Exact):
    """One text's place; the response is the list of these alone, best first."""

    index: int
    score: float
    text: str = _or_absent("With return_text.")


class VoyageResult(_Exact):
    """One document's place."""

    index: int
    relevance_score: float
    document: str = _or_absent("With return_documents.")


class VoyageUsage(_Exact):
    """Tokens read."""

    total_tokens: int


class VoyageResponse(_Exact):
    """Voyage's list."""

    object: Literal["list"]
    data: list[VoyageResult]
    model: str
    usage: VoyageUsage


class MixedbreadResult(_Exact):
    """One document's place."""

    object: Literal["rank_result"]
    index: int
    score: float
    input: str | dict[str, Any] = _or_absent("With return_input.")


class MixedbreadResponse(_Exact):
    """Mixedbread's list."""

    object: Literal["list"]
    model: str
    data: list[MixedbreadResult]
    usage: Usage


class PineconeResult(_Exact):
    """One document's place."""

    index: int
    score: float
    document: dict[str, Any] = _or_absent("Unless return_documents is false.")


class PineconeUsage(_Exact):
    """What Pinecone counts."""

    rerank_units: int


class PineconeResponse(_Exact):
    """Pinecone's rows."""

    model: str
    data: list[PineconeResult]
    usage: PineconeUsage


class NimRanking(_Exact):
    """One passage's place."""

    index: int
    logit: float = Field(description="Log-odds of the score in [0, 1].")


class NimUsage(_Exact):
    """Tokens that the encoder read for this request, now or once."""

    prompt_tokens: int
    total_tokens: int


class NimResponse(_Exact):
    """NVIDIA NIM's rankings, best first."""

    rankings: list[NimRanking]
    usage: NimUsage


class DashScopeResult(_Exact):
    """One document's place."""

    index: int
    relevance_score: float
    document: dict[str, Any] = _or_absent("With return_documents.")


class DashScopeOutput(_Exact):
    """What was asked for, best result first."""

    results: list[DashScopeResult]


class DashScopeUsage(_Exact):
    """Tokens read."""

    total_tokens: int


class DashScopeResponse(_Exact):
    """DashScope's envelope."""

    output: DashScopeOutput
    usage: DashScopeUsage
    request_id: str
