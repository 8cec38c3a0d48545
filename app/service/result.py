"""The one result that every dialect's response is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.ranking.job import Lap, Ranking
from app.ranking.methods import RankMethod
from app.service.request import Document
from retrieval.encoder.protocol import Granularity


@dataclass(frozen=True)
class WorkDone:
    """What was done for a request of any kind, for whoever watches."""

    documents: int | None = None  # that were ranked, compared or embedded
    tokens: int | None = None  # that the encoder read for them, now or once
    model: str | None = None  # a served one's name
    method: RankMethod | None = None
    cached: int = 0  # documents whose states were cached
    encoded: int = 0  # documents that were read for this request
    skipped: int = 0  # documents that the deadline left unread
    incomplete: bool = False  # whether it left any, or parts of them
    laps: Sequence[Lap] = ()
    dropped: Sequence[str] = ()  # rankers that failed or were late


@dataclass(frozen=True, slots=True)
class Row:
    """One document's place."""

    index: int  # among the documents sent, or among those retrieved
    score: float
    document: Document | None = None  # None unless it is to be shown
    text: str = ""  # what was ranked of it, where it is to be shown
    tokens: tuple[int, int] = (0, 0)  # that were read of it, and that it has
    rankers: Mapping[str, float | None] | None = None
    evidence: Mapping[str, float | None] | None = None  # of its score
    spans: Sequence[Mapping[str, float]] | None = None  # start, end, score


@dataclass(frozen=True)
class RerankResult:
    """A request's answer, best row first."""

    id: str
    model: str  # as the client called it, or ours
    method: RankMethod
    rows: Sequence[Row]
    ranking: Ranking
    degraded: Sequence[str]  # why the answer is less than it could be
    best: float  # score of all documents, whether they are shown or not
    answerable: bool  # whether the best one is good enough
    calibrated: bool  # whether the scores' parameters were fitted with this model
    granularity: Granularity  # of the model's vectors
    done: WorkDone
    unknown_ids: Sequence[str] | None = None  # of the ids that were asked for, those without passages; None: none were
