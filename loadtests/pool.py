"""What users send: real queries, each with the passages of a pool that a search would find for it.

The pool is small, so that a server has all of it in its cache after a short warm-up. Queries are encoded each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import orjson

from benchmarks.corpus import QUERIES as DEMO_QUERIES
from loadtests.mix import DOCUMENTS, TOP_N, Kind
from retrieval.evaluation import beir
from retrieval.text.bm25 import QueryTerms, Terms, bm25
from retrieval.text.demo import demo_passages

COLLECTIONS = Path(__file__).parents[2] / "shared" / "collections"
PASSAGES, QUERIES = 200, 40  # of each collection
_PAIRS = 5  # of each query with its best candidates


@dataclass(frozen=True)
class Topic:
    """Passages about one field, and what is asked of them."""

    name: str
    passages: Sequence[str]
    queries: Sequence[str]


@dataclass(frozen=True)
class Traffic:
    """Bodies of requests, ready to be sent."""

    source: str  # names of the collections
    passages: Sequence[str]  # the whole pool
    queries: Sequence[str]
    bodies: Mapping[Kind, Sequence[bytes]]


def open_traffic(folder: Path = COLLECTIONS) -> Traffic:
    """Requests from the collections in a folder (BEIR's layout, one folder each), or from the demo where it is none."""
    topics = [_judged(path.parent) for path in sorted(folder.glob("*/corpus.jsonl"))]
    return traffic([topic for topic in topics if len(topic.passages) >= max(DOCUMENTS.values())] or [_demo()])


def traffic(topics: Sequence[Topic]) -> Traffic:
    """Every query of every topic with its best candidates by BM25: one request of each size, and some pairs."""
    bodies: dict[Kind, list[bytes]] = {kind: [] for kind in ("similarity", *DOCUMENTS)}
    for topic in topics:
        terms = [Terms.of(passage) for passage in topic.passages]
        for query in topic.queries:
            order = np.argsort(-bm25(QueryTerms.of(query), terms).scores, kind="stable")
            found = [topic.passages[at] for at in order[: max(DOCUMENTS.values())]]
            bodies["similarity"] += [orjson.dumps({"text1": query, "text2": text}) for text in found[:_PAIRS]]
            for kind, count in DOCUMENTS.items():
                bodies[kind].append(orjson.dumps({"query": query, "documents": found[:count], "top_n": TOP_N}))
    return Traffic(
        ", ".join(topic.name for topic in topics),
        [passage for topic in topics for passage in topic.passages],
        [query for topic in topics for query in topic.queries],
        bodies,
    )


def _judged(folder: Path) -> Topic:
    """A collection's first queries, what is relevant to them, and other passages up to the pool's size."""
    dataset = beir.load(folder)
    text_of = dict(zip(dataset.document_ids, dataset.documents, strict=True))
    relevant = (name for query in dataset.query_ids[:QUERIES] for name in dataset.qrels[query])
    names = dict.fromkeys([*relevant, *dataset.document_ids])
    texts = dict.fromkeys(text for name in names if (text := text_of.get(name, "")).strip())
    return Topic(dataset.name, list(texts)[:PASSAGES], dataset.queries[:QUERIES])


def _demo() -> Topic:
    texts: Iterator[str] = iter(dict.fromkeys(passage.content for passage in demo_passages()))
    return Topic("demo", list(islice(texts, PASSAGES)), DEMO_QUERIES)
