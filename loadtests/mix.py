"""Who asks for what, and whether answers are right: users of three tiers whose requests together have the PRD's mix.

A user's requests start at random intervals, drawn evenly between two bounds; an answer that takes longer than its
interval is followed by the next request at once. So what is asked does not depend on how fast it is answered, as long
as it is answered in time, and no user exceeds its tier's requests a minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import orjson

Kind = Literal["similarity", "small", "medium", "large"]
KINDS: tuple[Kind, ...] = get_args(Kind)

DOCUMENTS: Mapping[Kind, int] = {"small": 10, "medium": 50, "large": 100}  # of one rerank
TOP_N = 10
PATHS = {"similarity": "/v1/similarity", "small": "/rerank", "medium": "/rerank", "large": "/rerank"}
PRD: Mapping[Kind, int] = {"similarity": 30, "small": 40, "medium": 20, "large": 10}  # per cent of all requests
REFUSED = {429, 503}


@dataclass(frozen=True)
class TierMix:
    """What the users of one tier do."""

    users: int  # of every ten
    seconds: tuple[float, float]  # bounds of the interval from one request's start to the next's
    asks: Mapping[Kind, int]  # per cent of the requests of all tiers

    @property
    def per_second(self) -> float:
        """Requests a second of one user that is answered in time."""
        return 2 / sum(self.seconds)


TIERS: Mapping[str, TierMix] = {
    "public": TierMix(5, (1.05, 1.45), {"similarity": 16, "small": 24}),
    "standard": TierMix(3, (0.75, 1.25), {"similarity": 8, "small": 8, "medium": 14}),
    "premium": TierMix(2, (0.4, 14 / 15), {"similarity": 6, "small": 8, "medium": 6, "large": 10}),
}


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
    _must(
        len(indices) == TOP_N and indices <= set(range(documents)), "an index is none of the documents', or there twice"
    )
    _must(all(a >= b for a, b in pairwise(scores)), "the results are not in order")


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise Wrong(what)
