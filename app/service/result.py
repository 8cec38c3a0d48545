"""The one result that every dialect's response is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.ranking.job import Ranking
from app.ranking.methods import Method
from app.service.request import Document


@dataclass(frozen=True, slots=True)
class Row:
    """One document's place."""

    index: int  # among the documents sent, or among those retrieved
    score: float
    document: Document | None = None  # None unless it is to be shown
    text: str = ""  # what was ranked of it, where it is to be shown
    rankers: Mapping[str, float | None] | None = None
    spans: Sequence[Mapping[str, float]] | None = None  # start, end, score


@dataclass(frozen=True)
class RerankResult:
    """A request's answer, best row first."""

    id: str
    model: str  # as the client called it, or ours
    served: str  # our name of it
    method: Method
    rows: Sequence[Row]
    ranking: Ranking
    degraded: Sequence[str]  # why the answer is less than it could be
