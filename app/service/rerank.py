"""From a resolved request to its result. Runs in a worker."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidRequest, TooLarge
from app.ranking.job import Options, Ranking
from app.service.collection_check import check_visible
from app.service.collections import OpenCollections
from app.service.request import Document, ResolvedRerank, Search, SpanOptions
from app.service.result import RerankResult, Row, WorkDone
from retrieval.encoder.chunks import USUAL
from retrieval.errors import CollectionError, WrongModel
from retrieval.index.passage_index import Selection
from retrieval.store.collection import Collection
from retrieval.text.passages import Passage

ANSWERABLE = 0.5  # that the best document must reach where no other least score is set
_LEAST_SCORE = 1e-12  # where log-odds end, at ±27.6: JSON has no infinity

Report = Callable[[RerankResult], None]
Spans = Sequence[Sequence[Mapping[str, float]] | None]


def rerank(
    request: ResolvedRerank, collections: OpenCollections, request_id: str, report: Report | None = None
) -> RerankResult:
    """The result of a request. report: gets partial results, without documents, each time the ranking is known better.

    UnknownCollection, DamagedCollection or ModelNotServed if it cannot be searched, Cancelled if its deadline was
    cancelled, EncoderUnavailable if the query of a search cannot be encoded, TooLate if the client's deadline ends a
    filter.
    """
    asked = request.asked
    options = Options(
        method=request.method,
        exclude=asked.exclude,
        deadline=request.deadline,
        language=request.language,
        diversity=request.diversity,
        min_score=request.min_score,
        fusion=asked.fusion,
        weigh=request.lesson.weigh if request.lesson else None,
    )
    if report is not None:
        options["report"] = lambda ranking: report(_result(request, ranking, request_id, _shown(request, ranking)))
    if request.search is not None:
        return _search(request, request.search, collections, request_id, options)
    ranking = request.choice.reranker.rerank(asked.query, asked.texts, reading=request.reading, **options)
    shown = _shown(request, ranking)
    if request.lesson and ranking.contributions:
        request.lesson.remember(request_id, ranking.contributions, shown, None)
    documents = [asked.documents[at] for at in shown] if asked.return_documents and asked.documents else None
    return _result(request, ranking, request_id, shown, documents, [asked.texts[at] for at in shown])


def _search(
    request: ResolvedRerank, search: Search, collections: OpenCollections, request_id: str, options: Options
) -> RerankResult:
    """The result of a request whose candidates are a collection's."""
    check_visible(search.identity, search.collection)
    asked, name = request.asked, search.collection
    wanted = asked.filter if asked.ids is None else asked.ids
    until = math.inf if asked.deadline_ms is None else request.deadline.at  # late is better than never, unless told
    selected = None if wanted is None else collections.select(name, wanted, until)
    opened = collections.open(name) if selected is None else selected
    collection = opened.index
    request = replace(
        request,
        choice=search.models.choose_for(request.choice, collection.model.digest),
        lesson=request.lesson and request.lesson.of(opened.name),
    )
    if request.lesson:
        options["weigh"] = request.lesson.weigh
    try:
        of_ids, unknown_ids = None, None
        if selected is not None and asked.ids is not None:
            of_ids, unknown_ids = _named(asked.ids, selected.index, search.candidates)
        positions, ranking = request.choice.reranker.search(
            asked.query,
            collection,
            positions=of_ids,
            candidates=search.candidates,
            first_stage=search.first_stage,
            grouped=asked.grouped,
            **options,
        )
        shown = _shown(request, ranking)
        passages = collection.passages(positions[shown])
        if request.lesson and ranking.contributions:
            ids = [passage.id for passage in collection.passages(positions)]
            request.lesson.remember(request_id, ranking.contributions, shown, ids)
        documents = None if asked.return_documents is False else _documents(passages, opened.documents)
    except CollectionError as error:  # damaged since it was looked at, or another model's
        if isinstance(error, WrongModel):  # the client chose that
            message = f"model: the collection {name!r} is of {collection.model.name!r}; send that, or none"
            raise InvalidRequest(message, ("model",)) from error
        raise collections.failed(name, error, opened.name) from error
    result = _result(request, ranking, request_id, shown, documents, [passage.text for passage in passages])
    lacks = {"damage": not collection.is_whole, "words": search.first_stage.lexical and not collection.finds_words}
    degraded = [*result.degraded, *(what for what, does in lacks.items() if does)]
    return replace(result, degraded=degraded, unknown_ids=unknown_ids)


def _named(ids: Sequence[str], collection: Selection, most: int) -> tuple[NDArray[np.int64], list[str]]:
    """The positions of all passages in the order of the ids of their documents, and the ids without passages.

    TooLarge for more than `most` passages.
    """
    positions = collection.positions()
    if len(positions) > most:
        raise TooLarge(
            f"the documents with these ids have {len(positions)} passages and at most {most} are ranked; send fewer ids"
        )
    places = {i: place for place, i in enumerate(ids)}
    owners = [passage.id for passage in collection.passages(positions)]
    unknown = places.keys() - set(owners)
    return positions[np.argsort([places[i] for i in owners], kind="stable")], [i for i in ids if i in unknown]


def _documents(passages: Sequence[Passage], store: Collection | None) -> list[Document]:
    """Passages as the client sees them; of one that is a part of its document, which part."""
    metadata = store.metadata([passage.id for passage in passages]) if store else {}
    return [
        {"id": passage.id, "title": passage.title, "text": passage.text, "metadata": metadata.get(passage.id)}
        | ({"chunk": dict(zip(("start", "end"), passage.chunk, strict=True))} if passage.chunk else {})
        for passage in passages
    ]


def _shown(request: ResolvedRerank, ranking: Ranking) -> list[int]:
    """The positions that the client asked to see, best first."""
    best = ranking.order[: request.asked.top_n]
    positions: list[int] = best[ranking.scores[best] >= request.min_score].tolist()
    return positions


def _result(
    request: ResolvedRerank,
    ranking: Ranking,
    request_id: str,
    shown: Sequence[int],
    documents: Sequence[Document] | None = None,
    texts: Sequence[str] | None = None,
) -> RerankResult:
    """The result of a ranking. documents: those shown, if they are. texts: what was ranked of them, at the end."""
    best, cached = float(ranking.scores.max(initial=0.0)), min(ranking.cached, ranking.encoded)
    reranker = request.choice.reranker
    done = WorkDone(
        documents=len(ranking.scores),
        tokens=ranking.tokens,
        model=reranker.encoder.name,
        method=request.method,
        cached=cached,
        encoded=ranking.encoded - cached,
        skipped=len(ranking.scores) - ranking.encoded,
        incomplete=ranking.incomplete,
        laps=ranking.laps,
        dropped=ranking.dropped,
    )
    return RerankResult(
        id=request_id,
        model=request.choice.name,
        method=request.method,
        rows=_rows(request, ranking, shown, documents, texts),
        ranking=ranking,
        degraded=_degraded(ranking),
        best=best,
        answerable=best >= (request.min_score or ANSWERABLE),
        calibrated=reranker.is_calibrated,
        granularity=reranker.encoder.granularity,
        done=done,
    )


def _rows(
    request: ResolvedRerank,
    ranking: Ranking,
    shown: Sequence[int],
    documents: Sequence[Document] | None,
    texts: Sequence[str] | None,
) -> list[Row]:
    """What is said of each document that is shown, the best first."""
    asked = request.asked
    scores = _log_odds(ranking.scores) if asked.raw_scores else ranking.scores
    spans = _spans(request, asked.spans, ranking, shown, texts) if asked.spans and texts else [None] * len(shown)
    return [
        Row(
            index,
            float(scores[index]),
            documents[place] if documents is not None else None,
            texts[place] if documents is not None and texts else "",
            (int(ranking.tokens_read[index]), int(ranking.tokens_of[index])),
            _finite(ranking.rankers, index) if asked.explain else None,
            _finite({**ranking.evidence, "log_odds": ranking.log_odds}, index) if asked.explain else None,
            spans[place],
        )
        for place, index in enumerate(shown)
    ]


def _degraded(ranking: Ranking) -> list[str]:
    """Why the answer is less than it could be."""
    reasons = {
        "encoder": ranking.unavailable,
        "deadline": ranking.incomplete and not ranking.unavailable,
        "truncated": ranking.truncated,
        "chunks": ranking.cut > ranking.truncated,
        "query": ranking.query_cut,
        "language": not ranking.readable,
    }
    return [*(reason for reason, is_so in reasons.items() if is_so), *ranking.dropped]


def _finite(of: Mapping[str, NDArray[np.float64]], index: int) -> dict[str, float | None]:
    """One document's values; None where there is none."""
    scores = {name: float(values[index]) for name, values in of.items()}
    return {name: None if math.isnan(score) else score for name, score in scores.items()}


def _log_odds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) scores in [0, 1] as what the logistic function makes them from: log(s/(1 − s)), within ±27.6."""
    inner = np.clip(scores, _LEAST_SCORE, 1 - _LEAST_SCORE)
    odds: NDArray[np.float64] = np.log(inner / (1 - inner))
    return odds


def _spans(
    request: ResolvedRerank, options: SpanOptions, ranking: Ranking, shown: Sequence[int], texts: Sequence[str]
) -> Spans:
    """The relevant spans of the documents shown; None for one that was not read."""
    read = [_was_read(ranking, index) for index in shown]
    found = iter(
        request.choice.reranker.relevant_spans(
            request.asked.query,
            [text for text, was in zip(texts, read, strict=True) if was],
            threshold=options.threshold,
            most=options.max_spans,
            reading=request.reading if request.asked.documents is not None else USUAL,  # passages are read whole
            deadline=request.deadline,
        )
    )
    return [[asdict(span) for span in next(found)] if was else None for was in read]


def _was_read(ranking: Ranking, index: int) -> bool:
    return any(not math.isnan(values[index]) for name, values in ranking.rankers.items() if name != "lexical")
