"""The dialect of Cohere, Jina, vLLM, Infinity, Xinference, Together and SiliconFlow, with our extensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from app.api.dialects.body import (
    Body,
    Count,
    Digits,
    Documents,
    Language,
    MinScore,
    Model,
    Names,
    Number,
    Phrases,
    Query,
    Selecting,
)
from app.api.dialects.documents import as_object, as_text, text_of
from app.api.dialects.schema import Exact, Usage, or_absent
from app.ranking.methods import RankMethod
from app.service.request import Document, RerankRequest, SpanOptions
from app.service.result import RerankResult, Row
from app.settings import CollectionName
from retrieval.encoder.protocol import Granularity
from retrieval.fusion.algorithms import Algorithm

Show = Callable[[Document, str], object]


class SpansWanted(BaseModel):
    """Cohere's `relevant_spans`."""

    mode: Literal["enabled", "disabled"] | None = Field(None, description="Absent: enabled.")
    threshold: Annotated[float, Field(ge=0, le=1), Number] | None = Field(
        None, description="Minimum score. Absent: 0.1."
    )
    max_spans: Count | None = Field(None, description="Maximum number of spans per document. Absent: all.")

    @property
    def options(self) -> SpanOptions | None:
        """The options, or None if spans are disabled."""
        if self.mode == "disabled":
            return None
        default = SpanOptions()
        return SpanOptions(default.threshold if self.threshold is None else self.threshold, self.max_spans)


_BOOLEAN = TypeAdapter(bool)


def _parse_spans(value: object) -> object:
    """Turn a bare mode into options: a boolean, a word that means one, `enabled` or `disabled`."""
    if value is None or isinstance(value, dict | SpansWanted):
        return value
    if value in ("enabled", "disabled"):
        return {"mode": value}
    try:
        return {"mode": "enabled" if _BOOLEAN.validate_python(value) else "disabled"}
    except ValidationError:
        raise ValueError("must be true, false, or an object with `mode`, `threshold` and `max_spans`") from None


class StandardBody(Body):
    """Cohere, Jina, vLLM, Infinity, Xinference, Together, SiliconFlow; with our extensions."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "query": "how do I read a file line by line",
                    "documents": ["Iterate over the file object.", "Lists are mutable.", "Call open() first."],
                    "top_n": 2,
                    "return_documents": True,
                },
                {"query": "how does a for loop work", "top_n": 3},
            ]
        },
    )

    query: Query
    documents: Documents | None = Field(
        None, description="Texts, or objects with a `text`. Absent: the candidates are searched in `collection`."
    )
    collection: CollectionName | None = Field(None, description="Searched if `documents` is absent.")
    filter: Selecting | None = Field(
        None, description="Which documents of `collection` are searched: conditions on their metadata."
    )
    ids: Annotated[list[Annotated[str, Digits]], Field(min_length=1)] | None = Field(
        None, description="The documents of `collection` that are ranked, without a search."
    )
    top_n: Count | None = Field(None, description="How many results; absent: all.")
    return_documents: bool | None = Field(
        None, description="Return the documents. Absent: only those from a collection."
    )
    rank_fields: Names | None = Field(
        None, description="The fields of objects that are ranked, in order. Absent: `text`, or all."
    )
    max_tokens_per_doc: Count | None = Field(
        None, description="Tokens per document that are used; the rest is ignored."
    )
    max_chunks_per_doc: Count | None = Field(
        None, description="Chunks per long document that are scored; its score is the best one's."
    )
    raw_scores: bool | None = Field(None, description="Return log-odds instead of scores in [0, 1].")
    relevant_spans: Annotated[
        SpansWanted | None, BeforeValidator(_parse_spans, json_schema_input_type=SpansWanted | bool | None)
    ] = Field(None, description="Return each document's matching sentences. true: same as `{}`; false: none.")
    method: RankMethod | None = Field(
        None,
        description="Ranking method. Absent: the model alias's, or hybrid. hybrid+cross "
        "needs a cross-encoder that the service loads.",
    )
    fusion: Algorithm | None = Field(
        None, description="How `hybrid` fuses its rankers. Absent: as the service is configured."
    )
    exclude: Phrases | None = Field(None, description="Topics that the results must not be about.")
    deadline_ms: Annotated[float, Field(ge=0, le=600_000, allow_inf_nan=False), Number] | None = Field(
        None,
        description="Milliseconds until the response; documents not encoded by then rank last. "
        "0: the longest deadline allowed.",
    )
    explain: bool | None = Field(None, description="Return each result's score by ranker.")
    group_by: Literal["passage", "document"] | None = Field(
        None, description="Results of a collection. document: each document's best passage. Absent: passage."
    )
    diversity: Annotated[float, Field(ge=0, le=1), Number] | None = Field(
        None,
        description="How much results should differ from those before them: 0, the order by relevance, to 1, the order "
        "by differences alone. Scores follow the order. Absent: the service's setting.",
    )
    min_score: MinScore = None
    language: Language = None
    model: Model

    @model_validator(mode="before")
    @classmethod
    def _accept_aliases(cls, body: object) -> object:
        if not isinstance(body, dict):
            return body
        renamed = dict(body)
        candidates, top_k = renamed.pop("candidates", None), renamed.pop("top_k", None)
        if candidates is not None:
            if renamed.get("documents") is not None:
                raise ValueError("send either `documents` or `candidates`, not both")
            renamed["documents"] = candidates
        if renamed.get("top_n") is None:
            renamed["top_n"] = top_k
        return renamed

    def to_request(self) -> RerankRequest:
        """Translate into a `RerankRequest`; InvalidRequest for a document without text."""
        return RerankRequest(
            query=self.query,
            documents=self.documents,
            texts=[
                document if isinstance(document, str) else text_of(document, index, self.rank_fields)
                for index, document in enumerate(self.documents or ())
            ],
            collection=self.collection,
            filter=self.filter,
            ids=None if self.ids is None else tuple(dict.fromkeys(self.ids)),
            top_n=self.top_n,
            return_documents=self.return_documents,
            method=self.method,
            fusion=self.fusion,
            exclude=tuple(self.exclude or ()),
            deadline_ms=self.deadline_ms,
            explain=bool(self.explain),
            raw_scores=bool(self.raw_scores),
            max_tokens=self.max_tokens_per_doc,
            max_chunks=self.max_chunks_per_doc,
            spans=self.relevant_spans.options if self.relevant_spans else None,
            grouped=self.group_by == "document",
            diversity=self.diversity,
            min_score=self.min_score,
            language=self.language,
            model=self.model,
        )


def usage(tokens: int) -> dict[str, int]:
    """Token counts with OpenAI's names; each is needed by some client."""
    return {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}


def respond(result: RerankResult, show: Show = as_object) -> dict[str, Any]:
    """The standard envelope."""
    near = result.ranking.near_duplicates
    return {
        "id": result.id,
        "object": "rerank",
        "model": result.model,
        "results": [_result(row, show) for row in result.rows],
        "meta": {
            "method": result.method,
            "timings_ms": {stage: round(ms, 3) for stage, ms in result.ranking.timings_ms.items()},
            "encoded": result.ranking.encoded,
            "degraded": list(result.degraded),
            "best": result.best,
            "answerable": result.answerable,
            "calibrated": result.calibrated,
            "granularity": result.granularity,
            **({} if near is None else {"near_duplicates": near}),
            **({} if result.unknown_ids is None else {"unknown_ids": list(result.unknown_ids)}),
        },
        "usage": usage(result.ranking.tokens),
    }


def respond_with_data(result: RerankResult, show: Show = as_object) -> dict[str, Any]:
    """The envelope with the rows also in `data`: some Voyage clients send a body that looks like Jina's."""
    return respond(result, show) | {"data": [_result(row, as_text) for row in result.rows]}


def respond_in_text(result: RerankResult) -> dict[str, Any]:
    """The envelope with documents as strings, as Infinity's own server returns them."""
    return respond(result, as_text)


def _result(row: Row, show: Show) -> dict[str, Any]:
    read, total = row.tokens
    result = {"index": row.index, "relevance_score": row.score, "tokens": {"read": read, "of": total}}
    if row.document is not None:
        result["document"] = show(row.document, row.text)
    wanted = {"scores": row.rankers, "evidence": row.evidence, "relevant_spans": row.spans}
    return result | {name: value for name, value in wanted.items() if value is not None}


class RelevantSpan(Exact):
    """A sentence of a document: code points [start, end) of the ranked text."""

    start: int
    end: int
    score: float = Field(ge=0, le=1, description="Fidelity of the query and this sentence.")


class TokensRead(Exact):
    """How much of a document was read."""

    read: int = Field(description="Tokens that were read, without special ones; 0: it was scored by its words alone.")
    of: int = Field(description="All its tokens; estimated if it was not read to its end.")


class Result(Exact):
    """One document's index and score."""

    index: int = Field(description="Position among the documents sent or retrieved.")
    relevance_score: float = Field(
        description="Probability that the document is relevant, or its log-odds; comparable across requests."
    )
    tokens: TokensRead
    document: dict[str, Any] | str = or_absent(
        "Absent unless requested or retrieved; a string on /infinity/rerank and in `data`."
    )
    scores: dict[str, float | None] = or_absent("With `explain`: each ranker's score.")
    evidence: dict[str, float | None] = or_absent(
        "With `explain`: what the relevance score rests on, besides the rankers: `coverage`, the share of the query's "
        "words that the document holds; `log_fidelity`; `log_odds`, before the list's order is applied."
    )
    relevant_spans: list[RelevantSpan] = or_absent("Best first; absent for a document that was not encoded.")


class Meta(Exact):
    """Method, timings and completeness of the response."""

    method: RankMethod
    timings_ms: dict[str, float]
    encoded: int = Field(description="Number of documents scored with their encoded states.")
    degraded: list[str] = Field(
        description="Why the response is incomplete; empty if it is complete. deadline: not all documents were encoded "
        "in time; encoder: the model's server does not answer, and words alone scored what was not cached; truncated: "
        "the beginning of a document had too few words, and its end was not used; chunks: a document was longer than "
        "its chunks; query: the query was longer than what is read; language: the model does not know most tokens, "
        "or for hybrid the script of the query, and words alone decided; cross_encoder: it failed, or had no time for "
        "all of the best documents; classical, quantum, lexical: this ranker failed, and others answered; damage: a "
        "part of the collection was damaged, and is not searched until it is indexed again."
    )
    best: float = Field(ge=0, le=1, description="The highest score, also if nothing is returned. 0: nothing was found.")
    answerable: bool = Field(
        description="Whether the best score reaches `min_score`, or 0.5 where that is 0 or absent."
    )
    calibrated: bool = Field(
        description="Whether the scores were calibrated for this model. If not, the order is right, the level a guess."
    )
    unknown_ids: list[str] = or_absent(
        "With `ids`: those that were not ranked, since the collection does not have them, or not searchable yet."
    )
    near_duplicates: float = or_absent(
        "With `diversity`, if there are documents: the share that is nearly equal (fidelity above 0.9) to a more "
        "relevant one."
    )
    granularity: Granularity = Field(
        description="token: each token has a vector; document: only the whole text, as of a model behind a URL, and "
        "`quantum` compares whole texts."
    )


class RerankResponse(Exact):
    """The standard envelope, best result first."""

    id: str
    object: Literal["rerank"]
    model: str
    results: list[Result]
    data: list[Result] = or_absent("On /v1/rerank: the same results, with documents as strings.")
    meta: Meta
    usage: Usage
