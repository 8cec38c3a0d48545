"""Whether an answer is right. A wrong one is a failure, whatever its status."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson

from loadtests.mix import DOCUMENTS, Kind
from loadtests.pool import TOP_N

PATHS = {"similarity": "/v1/similarity", "small": "/rerank", "medium": "/rerank", "large": "/rerank"}
REFUSED = {429, 503}


class Refused(Exception):
    """The server said that this caller, or everybody, should come again later."""


class Wrong(Exception):
    """An answer that is not what was asked for."""


def check(kind: Kind, status: int, body: bytes) -> None:
    """Look at an answer; Refused or Wrong if it is not right."""
    if status in REFUSED:
        raise Refused(f"refused with {status}")
    if status != 200:
        raise Wrong(f"status {status}: {body[:200].decode('utf-8', 'replace')}")
    try:
        answer = orjson.loads(body)
        if kind == "similarity":
            _check_pair(answer)
        else:
            _check_order(answer, DOCUMENTS[kind])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise Wrong(f"not an answer: {type(error).__name__}: {error}") from error


def _check_pair(answer: Any) -> None:
    if not 0 <= answer["similarity"] <= 1:
        raise Wrong("a similarity is outside [0, 1]")


def _check_order(answer: Any, documents: int) -> None:
    results = answer["results"]
    indices = [result["index"] for result in results]
    scores = [result["relevance_score"] for result in results]
    if len(results) != min(TOP_N, documents):
        raise Wrong(f"{min(TOP_N, documents)} results were asked for, not {len(results)}")
    if len(set(indices)) < len(indices) or not all(0 <= index < documents for index in indices):
        raise Wrong("an index is none of the documents', or there twice")
    if any(a < b for a, b in pairwise(scores)):
        raise Wrong("the results are not in order")
