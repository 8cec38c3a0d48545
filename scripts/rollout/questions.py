"""Requests of which no two are alike, in the dialects of several clients, and whether an answer is right."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from string import ascii_lowercase
from typing import Any

import orjson

from retrieval.text.demo import demo_passages

_WORDS = 14  # of each passage, before what tells it from all others
_LETTERS = 8  # of a case's name: none is another's by chance

Rows = Sequence[tuple[int, float]]  # a document's place among those sent, and its score; best first


class Wrong(Exception):
    """An answer that is not what was asked for."""


@dataclass(frozen=True)
class Question:
    """A query about a case, and documents of which one alone is about it."""

    query: str
    documents: Sequence[str]
    right: int  # which one


@dataclass(frozen=True)
class Dialect:
    """How some clients ask over HTTP."""

    name: str
    path: str
    documents: int  # of each request
    body: Callable[[Question], Mapping[str, object]]
    rows: Callable[[bytes], Rows]


def question(number: int, documents: int) -> Question:
    """The question with this number; its texts are in no other one's.

    documents: how many, 2 or more.
    """
    right = number % documents
    texts = []
    for at in range(documents):
        case = _case(f"{number}") if at == right else _case(f"{number}, {at}")
        texts.append(f"{_PASSAGES[(number + at) % len(_PASSAGES)]} This is of case {case}.")
    return Question(f"what is known of case {_case(f'{number}')}", texts, right)


def check(asked: Question, rows: Rows) -> None:
    """Wrong unless every document is there once, in order, and the right one is the first."""
    if sorted(index for index, _ in rows) != list(range(len(asked.documents))):
        raise Wrong(f"{len(asked.documents)} documents were sent, {len(rows)} came back, or not each once")
    if any(a[1] < b[1] for a, b in pairwise(rows)):
        raise Wrong("the rows are not in order")
    if rows[0][0] != asked.right:
        raise Wrong(f"document {rows[0][0]} came first, and {asked.right} has the words of the query")


def final_of(stream: bytes) -> bytes:
    """The data of a stream's last event; Wrong if that is not the answer."""
    event = stream.rstrip().rpartition(b"\r\n\r\n" if b"\r\n\r\n" in stream else b"\n\n")[2]
    fields = dict(line.split(b": ", 1) for line in event.splitlines() if b": " in line)
    if fields.get(b"event") != b"final":
        raise Wrong(f"the stream ended with {event[:200]!r}")
    return fields[b"data"]


def rows_of(items: Sequence[Mapping[str, Any]], score: str = "relevance_score") -> Rows:
    """Indices and scores of an answer's items."""
    return [(item["index"], item[score]) for item in items]


def _case(seed: str) -> str:
    """Letters that look like no other case's: what the model and BM25 both tell apart."""
    digest = hashlib.sha256(seed.encode()).digest()[:_LETTERS]
    return "".join(ascii_lowercase[byte % 26] for byte in digest)


def _standard(asked: Question) -> dict[str, object]:
    return {"query": asked.query, "documents": asked.documents, "return_documents": False}


def _voyage(asked: Question) -> dict[str, object]:
    return {"query": asked.query, "documents": asked.documents, "top_k": len(asked.documents), "truncation": True}


def _results(body: bytes) -> Rows:
    return rows_of(orjson.loads(body)["results"])


def _data(score: str) -> Callable[[bytes], Rows]:
    return lambda body: rows_of(orjson.loads(body)["data"], score)


_PASSAGES = [" ".join(passage.text.split()[:_WORDS]) for passage in islice(demo_passages(), 50)]

STREAM = Dialect("stream", "/v1/rerank/stream", 24, _standard, lambda body: _results(final_of(body)))
SOCKET = Dialect("WebSocket", "/v1/ws", 8, _standard, _results)
LARGE = Dialect("large", "/rerank", 60, _standard, _results)
OVER_HTTP = (
    Dialect("Cohere", "/v2/rerank", 8, _standard, _results),
    Dialect("Jina", "/v1/rerank", 8, _standard, _results),
    Dialect(
        "TEI",
        "/rerank",
        8,
        lambda asked: {"query": asked.query, "texts": asked.documents},
        lambda body: rows_of(orjson.loads(body), "score"),
    ),
    Dialect("Voyage", "/v1/rerank", 8, _voyage, _data("relevance_score")),
    Dialect(
        "mixedbread",
        "/v1/reranking",
        8,
        lambda asked: {"query": asked.query, "input": asked.documents},
        _data("score"),
    ),
    STREAM,
    LARGE,
)
