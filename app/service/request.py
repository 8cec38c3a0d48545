"""What is asked for: a request as its dialect was translated, and what is decided about it, once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

from app.auth.usage import who
from app.engine.admission import PIECE, pieces
from app.engine.engine import Choice, ModelRegistry
from app.errors import InvalidRequest, TooLarge
from app.feedback.judgements import Learning, Lesson, Scope
from app.identity import Identity
from app.quotas.quotas import Cost
from app.ranking.methods import BASE, CROSS_METHOD, DEFAULT_METHOD, RankMethod
from app.settings import LimitSettings, Settings
from retrieval.deadline import Deadline
from retrieval.encoder.chunks import Reading
from retrieval.encoder.protocol import Encoder
from retrieval.fusion.algorithms import Algorithm
from retrieval.index.first_stage import FirstStage
from retrieval.store.filters import Filter

Asked = TypeVar("Asked")
Document = str | dict[str, Any]  # as it was sent

_UNREPORTED = 100  # documents whose partial rankings cost next to nothing
_TOO_MANY_UNITS = (
    "the request takes {} units of work (a query compared with up to {} characters is one) and at most {} are taken; "
    "send fewer or shorter texts at once"
)
_reading = lru_cache(64)(Reading)  # most requests read alike


@dataclass(frozen=True)
class SpanOptions:
    """Which relevant spans of a document are wanted."""

    threshold: float = 0.1  # Cohere's default
    max_spans: int | None = None


@dataclass(frozen=True)
class RerankRequest:
    """A query and its candidates, whatever the dialect they came in."""

    query: str
    documents: Sequence[Document] | None  # as sent; None: searched in `collection`
    texts: Sequence[str] = ()  # what is ranked of each document
    collection: str | None = None
    filter: Filter | None = None  # of the documents of a collection; None: all
    ids: tuple[str, ...] | None = None  # of the documents of a collection that are ranked; None: those found
    top_n: int | None = None  # None: all
    return_documents: bool | None = None  # None: only those from a collection
    method: RankMethod | None = None
    fusion: Algorithm | None = None  # of `hybrid`; None: the setting's
    exclude: tuple[str, ...] = ()
    deadline_ms: float | None = None  # 0: none; None: the setting's
    explain: bool = False
    raw_scores: bool = False
    max_tokens: int | None = None  # read of a document
    max_chunks: int | None = None
    spans: SpanOptions | None = None  # None: not wanted
    grouped: bool = False  # of a collection, each document's best passage alone
    min_score: float | None = None  # nothing below it is returned; None: the setting's
    language: str | None = None  # None: the setting's
    diversity: float | None = None  # 0 to 1; None: the setting's
    model: Any = None  # in any form


@dataclass(frozen=True)
class ResolvedRequest(Generic[Asked]):
    """A request of any kind, and what was decided about it when it was read: nobody decides any of it again."""

    asked: Asked
    choice: Choice  # the model
    method: RankMethod
    texts: Sequence[str]  # that the model must read, unless their states are cached
    reading: Reading  # of each text
    deadline: Deadline
    cost: Cost


@dataclass(frozen=True)
class Search:
    """Where a request without documents gets its candidates."""

    collection: str
    candidates: int  # how many are found; of documents that are named by ids, the most passages that are ranked
    first_stage: FirstStage
    identity: Identity  # whose request it is
    models: ModelRegistry  # of which the collection's own is taken, where the client chose none


@dataclass(frozen=True)
class ResolvedRerank(ResolvedRequest[RerankRequest]):
    """A request to rank."""

    search: Search | None  # None: the candidates are the documents that were sent
    min_score: float  # 0 to 1
    language: str  # a code, "none" or "auto"
    diversity: float  # 0 to 1
    lesson: Lesson | None  # feedback of it; None: it is off


def resolve(
    asked: RerankRequest,
    models: ModelRegistry,
    settings: Settings,
    caller: str,
    identity: Identity,
    feedback: Learning | None = None,
    *,
    partial_rankings: bool = False,
) -> ResolvedRerank:
    """Decide everything about a request to rank. Its deadline begins now.

    Args:
        asked: The request.
        models: Those that are served.
        settings: Limits and defaults.
        caller: Whose request it is, for fair shares.
        identity: Whose request it is. A default collection that it may not see is none.
        feedback: What gives the weights of the rankers; None: it is off.
        partial_rankings: Whether partial rankings are reported.

    TooLarge over a limit; InvalidRequest without documents or collection, or for spans of a model that has none.
    """
    limits, choice = settings.limits, models.choose(asked.model)
    _check_limits(asked, limits)
    _check_selection(asked)
    search = _search(asked, models, settings, identity) if asked.documents is None else None
    if asked.spans:
        _check_spans(choice.reranker.encoder)
    method = _method(asked, choice)
    most = min(asked.max_chunks or limits.chunks_per_document, limits.chunks_per_document)
    units = _units(asked, most, settings.candidates, partial_rankings=partial_rankings)
    scope = Scope(search.collection if search else "", identity.tier)
    return ResolvedRerank(
        asked,
        choice,
        method,
        asked.texts,
        _reading(asked.max_tokens, most),
        deadline_of(asked.deadline_ms, settings, caller),
        checked(Cost(len(asked.documents or ()), units, BASE[method]), limits),
        search,
        settings.min_score if asked.min_score is None else asked.min_score,
        asked.language or settings.language,
        settings.diversity if asked.diversity is None else asked.diversity,
        Lesson(feedback, scope, who(identity)) if feedback else None,
    )


def _method(asked: RerankRequest, choice: Choice) -> RankMethod:
    """How a request is ranked; InvalidRequest for what the model or the method does not have."""
    method = asked.method or choice.method or DEFAULT_METHOD
    if method == CROSS_METHOD and choice.reranker.cross is None:
        raise InvalidRequest(
            "method: hybrid+cross needs a cross-encoder, and this service has none: send hybrid, or have "
            "QRERANK_CROSS_ENCODER__MODEL set",
            ("method",),
        )
    if asked.fusion and BASE[method] != "hybrid":
        raise InvalidRequest(f"fusion: {method} has one ranker, and nothing to fuse; ask for hybrid", ("fusion",))
    return method


def _search(asked: RerankRequest, models: ModelRegistry, settings: Settings, identity: Identity) -> Search:
    """What is searched where no documents were sent; a default that the caller may not see is none."""
    default = settings.default_collection or ""
    collection = asked.collection or (default if identity.may_see(default) else "")
    if not collection:
        raise InvalidRequest(
            "there is nothing to rank: send `documents` (or `texts`), or name a `collection` to search"
        )
    return Search(
        collection,
        settings.candidates if asked.ids is None else settings.limits.documents,
        settings.first_stage.to_first_stage(),
        identity,
        models,
    )


def _check_spans(encoder: Encoder) -> None:
    if encoder.granularity != "token":
        raise InvalidRequest(
            f"relevant_spans: {encoder.name} gives one vector for a whole text, so no sentence can be told apart; "
            "leave it out, or choose another model",
            ("relevant_spans",),
        )


def deadline_of(deadline_ms: float | None, settings: Settings, caller: str) -> Deadline:
    """When the answer to a request that just came in is due: never later than the longest deadline, as 0 means."""
    milliseconds = settings.engine.deadline_ms if deadline_ms is None else deadline_ms
    return Deadline.after(min(milliseconds or math.inf, settings.engine.longest_ms) / 1e3, caller)


def checked(cost: Cost, limits: LimitSettings) -> Cost:
    """The cost of a request; TooLarge where it takes more than any may, naming both numbers.

    A unit is one query compared with one piece of text of up to 1000 characters, which is about what a model reads at
    once. This one number is what limits, quotas, admission and metrics go by.
    """
    if cost.units > limits.units:
        raise TooLarge(_TOO_MANY_UNITS.format(cost.units, PIECE, limits.units))
    return cost


def units_of_queries(queries: Iterable[str], excluded: Iterable[str] = ()) -> int:
    """What queries take besides being compared, nothing for short ones; and exclusions, as much as their lengths."""
    return sum(-(-len(text) // PIECE) - 1 for text in queries) + sum(-(-len(text) // PIECE) for text in excluded)


def _units(asked: RerankRequest, most: int, candidates: int, *, partial_rankings: bool) -> int:
    """Its units. most: pieces that are read of a text. candidates: that a search finds."""
    if asked.documents is not None:
        sent, units = len(asked.texts), pieces(asked.texts, most)
    else:
        sent = units = candidates if asked.ids is None else len(asked.ids)
    if asked.spans:  # which are looked for in what is shown
        units += -(-units * min(asked.top_n or sent, sent) // sent)
    if partial_rankings:
        units += max(0, sent - _UNREPORTED)  # each partial ranking fuses what was scored so far once more
    return units + units_of_queries([asked.query], asked.exclude)


def _check_selection(asked: RerankRequest) -> None:
    """InvalidRequest for a filter or ids where there is nothing to select from, or for both."""
    for name, value in (("filter", asked.filter), ("ids", asked.ids)):
        if value is not None and asked.documents is not None:
            raise InvalidRequest(f"{name}: selects documents of a collection; leave out `documents`", (name,))
    if asked.filter is not None and asked.ids is not None:
        raise InvalidRequest("ids: send either `ids` or `filter`, not both", ("ids",))


def _check_limits(asked: RerankRequest, limits: LimitSettings) -> None:
    """TooLarge for more than is taken; the message names both numbers. The lists of a body are counted before."""
    longest = max(map(len, asked.exclude), default=0)
    for count, most, message in (
        (len(asked.query), limits.query_characters, "the query has {} characters and at most {} are taken"),
        (len(asked.exclude), limits.excluded_texts, "{} texts are excluded and at most {} are taken"),
        (longest, limits.query_characters, "an excluded text has {} characters and at most {} are taken; exclude less"),
    ):
        if count > most:
            raise TooLarge(message.format(count, most))
