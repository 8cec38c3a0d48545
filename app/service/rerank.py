"""From a request to its outcome: which model, which documents, which ranking. Runs in a worker."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from app.engine.model_registry import Choice, Models
from app.errors import InvalidRequest, TooLarge
from app.ranking.methods import DEFAULT_METHOD, Method
from app.ranking.reranker import Ranking
from app.service.collections import OpenCollections
from app.service.request import Document, RerankRequest
from app.service.result import Outcome, Row
from app.settings import LimitSettings, Settings
from retrieval.deadline import Deadline
from retrieval.encoder.chunks import Reading
from retrieval.errors import CollectionError

_LEAST_SCORE = 1e-12  # where log-odds end, at ±27.6: JSON has no infinity

Report = Callable[[Outcome], None]


@dataclass(frozen=True)
class Service:
    """What answers depend on besides the models."""

    settings: Settings
    collections: OpenCollections


def check_limits(request: RerankRequest, limits: LimitSettings) -> None:
    """Refuse a request over a limit, naming both numbers."""
    count = len(request.documents or ())
    if count > limits.documents:
        raise TooLarge(f"{count} documents were sent and at most {limits.documents} are taken; send them in parts")
    if len(request.query) > limits.query_characters:
        raise TooLarge(f"the query has {len(request.query)} characters and at most {limits.query_characters} are taken")
    excluded = len(request.exclude)
    if excluded > limits.excluded_texts:
        raise TooLarge(f"{excluded} texts are excluded and at most {limits.excluded_texts} are taken")
    longest = max(map(len, request.exclude), default=0)
    if longest > limits.query_characters:
        raise TooLarge(
            f"an excluded text has {longest} characters and at most {limits.query_characters} are taken; exclude less"
        )


def deadline_of(deadline_ms: float | None, settings: Settings, caller: str) -> Deadline:
    """When the answer to a request that just came in is due: never later than the longest deadline, as 0 means."""
    milliseconds = settings.engine.deadline_ms if deadline_ms is None else deadline_ms
    return Deadline.after(min(milliseconds or math.inf, settings.engine.longest_ms) / 1e3, caller)


def answer(
    models: Models,
    request: RerankRequest,
    deadline: Deadline,
    service: Service,
    request_id: str,
    report: Report | None = None,
) -> Outcome:
    """The outcome of a request within the limits.

    report: gets what the outcome would be so far, without documents, each time it is known better.
    """
    choice = models.choose(request.model)
    answering = _Answering(request, choice, request.method or choice.method or DEFAULT_METHOD, request_id)
    on_the_way = partial(_report, answering, report) if report else None
    if request.documents is None:
        return _search(answering, deadline, service, on_the_way)
    reading = _reading(request, service.settings.limits)
    ranking = choice.reranker.rerank(
        request.query,
        request.texts,
        method=answering.method,
        exclude=request.exclude,
        deadline=deadline,
        reading=reading,
        report=on_the_way,
    )
    shown = answering.shown(ranking)
    documents = [request.documents[at] for at in shown] if request.return_documents else None
    texts = [request.texts[at] for at in shown]
    return answering.outcome(ranking, documents, texts, _spans(answering, ranking, texts, reading, deadline))


def _search(
    answering: _Answering, deadline: Deadline, service: Service, report: Callable[[Ranking], None] | None
) -> Outcome:
    """The outcome of a request whose candidates are a collection's."""
    request, reranker = answering.request, answering.choice.reranker
    name = request.collection or service.settings.default_collection
    if name is None:
        raise InvalidRequest(
            "there is nothing to rank: send `documents` (or `texts`), or name a `collection` to search"
        )
    collection = service.collections.get(name)
    try:
        positions, ranking = reranker.search(
            request.query,
            collection,
            candidates=service.settings.candidates,
            method=answering.method,
            exclude=request.exclude,
            deadline=deadline,
            report=report,
        )
        passages = collection.passages(positions[answering.shown(ranking)])
    except CollectionError as error:  # damaged since it was looked at, or another model's
        raise service.collections.failed(name, error) from error
    documents: list[Document] | None = None
    if request.return_documents is not False:
        documents = [asdict(passage) for passage in passages]
    texts = [passage.text for passage in passages]
    return answering.outcome(ranking, documents, texts, _spans(answering, ranking, texts, Reading(), deadline))


@dataclass(frozen=True)
class _Answering:
    """A request and what was decided about it."""

    request: RerankRequest
    choice: Choice
    method: Method
    request_id: str

    def shown(self, ranking: Ranking) -> list[int]:
        """The positions that the client asked to see, best first."""
        positions: list[int] = ranking.order[: self.request.top_n].tolist()
        return positions

    def outcome(
        self,
        ranking: Ranking,
        documents: Sequence[Document] | None = None,
        texts: Sequence[str] = (),
        spans: Sequence[Sequence[Mapping[str, float]] | None] | None = None,
    ) -> Outcome:
        """The outcome of a ranking. documents, texts, spans: of those shown, in their order."""
        scores = _log_odds(ranking.scores) if self.request.raw_scores else ranking.scores
        rows = [
            Row(
                index,
                float(scores[index]),
                documents[place] if documents is not None else None,
                texts[place] if documents is not None else "",
                _rankers(ranking, index) if self.request.explain else None,
                spans[place] if spans is not None else None,
            )
            for place, index in enumerate(self.shown(ranking))
        ]
        return Outcome(
            self.request_id,
            self.choice.name,
            self.method,
            rows,
            ranking.tokens,
            len(ranking.scores),
            ranking.encoded,
            ["deadline"] * ranking.cut + ["truncated"] * (ranking.truncated > 0),
            ranking.laps,
            ranking.known,
            self.choice.reranker.encoder.name,
        )


def _report(answering: _Answering, report: Report, ranking: Ranking) -> None:
    report(answering.outcome(ranking))


def _reading(request: RerankRequest, limits: LimitSettings) -> Reading:
    most = limits.chunks_per_document
    return Reading(request.max_tokens, min(request.max_chunks or most, most))


def _rankers(ranking: Ranking, index: int) -> dict[str, float | None]:
    scores = {name: float(values[index]) for name, values in ranking.rankers.items()}
    return {name: None if math.isnan(score) else score for name, score in scores.items()}


def _log_odds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) scores in [0, 1] as what the logistic function makes them from: log(s/(1 − s)), within ±27.6."""
    inner = np.clip(scores, _LEAST_SCORE, 1 - _LEAST_SCORE)
    odds: NDArray[np.float64] = np.log(inner / (1 - inner))
    return odds


def _spans(
    answering: _Answering, ranking: Ranking, texts: Sequence[str], reading: Reading, deadline: Deadline
) -> list[list[Mapping[str, float]] | None] | None:
    """The relevant spans of the documents shown, where they are wanted; None for one that was not read."""
    options = answering.request.spans
    if options is None:
        return None
    read = [_was_read(ranking, index) for index in answering.shown(ranking)]
    found = iter(
        answering.choice.reranker.relevant_spans(
            answering.request.query,
            [text for text, was in zip(texts, read, strict=True) if was],
            threshold=options.threshold,
            most=options.max_spans,
            reading=reading,
            deadline=deadline,
        )
    )
    return [[asdict(span) for span in next(found)] if was else None for was in read]


def _was_read(ranking: Ranking, index: int) -> bool:
    return any(not math.isnan(values[index]) for name, values in ranking.rankers.items() if name != "lexical")
