"""Who asks for what, and whether answers are right: users of three tiers whose requests together have the PRD's mix.

They send titles of Python's language reference, each with the passages that a search would find for it. The pool is
small, so that a server has all of it in its cache after a short warm-up. Queries are encoded each time.

A user's requests start at random intervals, drawn evenly between two bounds; an answer that takes longer than its
interval is followed by the next request at once. So what is asked does not depend on how fast it is answered, as long
as it is answered in time, and no user exceeds its tier's requests a minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
import orjson

from retrieval.text.bm25 import QueryTerms, Terms, bm25
from retrieval.text.demo import demo_passages

Kind = Literal["similarity", "small", "medium", "large"]
KINDS: tuple[Kind, ...] = get_args(Kind)

DOCUMENTS: Mapping[Kind, int] = {"small": 10, "medium": 50, "large": 100}  # of one rerank
TOP_N = 10
PATHS = {"similarity": "/v1/similarity", "small": "/rerank", "medium": "/rerank", "large": "/rerank"}
PRD: Mapping[Kind, int] = {"similarity": 30, "small": 40, "medium": 20, "large": 10}  # per cent of all requests
REFUSED = {429, 503}
PASSAGES, QUERIES = 400, 40
_PAIRS = 5  # of each query with its best candidates


@dataclass(frozen=True)
class TierMix:
    """What the users of one tier do."""

    users: int  # of every ten
    seconds: tuple[float, float]  # bounds of the interval from one request's start to the next's
    asks: Mapping[Kind, int]  # per cent of the requests of all tiers


TIERS: Mapping[str, TierMix] = {
    "public": TierMix(5, (1.05, 1.45), {"similarity": 16, "small": 24}),
    "standard": TierMix(3, (0.75, 1.25), {"similarity": 8, "small": 8, "medium": 14}),
    "premium": TierMix(2, (0.4, 14 / 15), {"similarity": 6, "small": 8, "medium": 6, "large": 10}),
}


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


class Refused(Exception):
    """The server said that this caller, or everybody, should come again later."""


class Wrong(Exception):
    """An answer that is not what was asked for: a failure, whatever its status."""


def check(kind: Kind, status: int, body: bytes) -> None:
    """Look at an answer; Refused or Wrong if it is not right."""
    if status in REFUSED:
        raise Refused(f"refused with {status}")
    if status != 200:
        raise Wrong(f"status {status}: {body[:200].decode('utf-8', 'replace')}")
    try:
        answer = orjson.loads(body)
        if kind == "similarity":
            _must(0 <= answer["similarity"] <= 1, "a similarity is outside [0, 1]")
        else:
            _check_order(answer["results"], DOCUMENTS[kind])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise Wrong(f"not an answer: {type(error).__name__}: {error}") from error


def _check_order(results: list[Any], documents: int) -> None:
    indices = {result["index"] for result in results}
    scores = [result["relevance_score"] for result in results]
    _must(len(results) == TOP_N, f"{TOP_N} results were asked for, not {len(results)}")
    known = indices <= set(range(documents))
    _must(known and len(indices) == TOP_N, "an index is none of the documents', or there twice")
    _must(all(a >= b for a, b in pairwise(scores)), "the results are not in order")


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise Wrong(what)
