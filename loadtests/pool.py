"""What users send: titles of Python's language reference, each with the passages that a search would find for it.

The pool is small, so that a server has all of it in its cache after a short warm-up. Queries are encoded each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from loadtests.mix import DOCUMENTS, TOP_N, Kind
from retrieval.text.bm25 import QueryTerms, Terms, bm25
from retrieval.text.demo import demo_passages

PASSAGES, QUERIES = 400, 40
_PAIRS = 5  # of each query with its best candidates


@dataclass(frozen=True)
class Traffic:
    """Bodies of requests, ready to be sent."""

    passages: Sequence[str]  # the whole pool
    queries: Sequence[str]
    bodies: Mapping[Kind, Sequence[bytes]]


def open_traffic() -> Traffic:
    """Requests about the demo collection."""
    found = demo_passages()
    texts, titles = dict.fromkeys(each.content for each in found), dict.fromkeys(each.title for each in found)
    return traffic(list(texts)[:PASSAGES], list(titles)[:QUERIES])


def traffic(passages: Sequence[str], queries: Sequence[str]) -> Traffic:
    """Every query with its best candidates by BM25: one request of each size, and some pairs."""
    bodies: dict[Kind, list[bytes]] = {kind: [] for kind in ("similarity", *DOCUMENTS)}
    terms = [Terms.of(passage) for passage in passages]
    for query in queries:
        order = np.argsort(-bm25(QueryTerms.of(query), terms).scores, kind="stable")
        found = [passages[at] for at in order[: max(DOCUMENTS.values())]]
        bodies["similarity"] += [orjson.dumps({"text1": query, "text2": text}) for text in found[:_PAIRS]]
        for kind, count in DOCUMENTS.items():
            bodies[kind].append(orjson.dumps({"query": query, "documents": found[:count], "top_n": TOP_N}))
    return Traffic(passages, queries, bodies)
