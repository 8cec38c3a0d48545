"""Texts as vectors. Runs in a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.engine.engine import ModelRegistry
from app.errors import InvalidRequest, TooLate
from app.quotas.quotas import Cost
from app.ranking.methods import DEFAULT_METHOD
from app.ranking.reranker import Reranker
from app.service.request import ResolvedRequest, checked, deadline_of
from app.settings import Settings
from retrieval.deadline import Deadline
from retrieval.encoder.chunks import USUAL
from retrieval.encoder.protocol import Role
from retrieval.states.source import StateSource
from retrieval.text.bm25 import Terms
from retrieval.text.limits import runs

_PART = 100  # texts whose token states, which come with the vectors, are held at once


@dataclass(frozen=True)
class Embeddings:
    """Of n texts."""

    vectors: NDArray[np.float32]  # (n, P) unit rows
    tokens: int  # that the encoder read for them, now or once


class EmbeddingsRequest(Protocol):
    """What a body asks for."""

    @property
    def input(self) -> Sequence[str]:
        """The texts."""

    @property
    def dimensions(self) -> int | None:
        """The length of vectors that its client insists on."""

    @property
    def model(self) -> Any:
        """In any form."""


Body = TypeVar("Body", bound=EmbeddingsRequest)


def resolve(asked: Body, models: ModelRegistry, settings: Settings, caller: str) -> ResolvedRequest[Body]:
    """Decide everything about a request to embed, of which the model reads one piece of each text.

    TooLarge over a limit; InvalidRequest for vectors of another length than the model's.
    """
    texts, limits = asked.input, settings.limits
    choice = models.choose(asked.model)
    encoder = choice.reranker.encoder
    if asked.dimensions not in {None, encoder.pooled_dimension}:
        raise InvalidRequest(
            f"dimensions: {encoder.name} gives vectors of {encoder.pooled_dimension}, which are not shortened; send "
            f"{encoder.pooled_dimension}, or leave it out",
            ("dimensions",),
        )
    cost = checked(Cost(len(texts), len(texts), "embedding"), limits)
    method = choice.method or DEFAULT_METHOD
    return ResolvedRequest(asked, choice, method, texts, USUAL, deadline_of(0, settings, caller), cost)


def embed(
    reranker: Reranker, texts: Sequence[str], role: Role = "document", deadline: Deadline | None = None
) -> Embeddings:
    """The pooled vectors of n ≥ 1 texts, the same that `Reranker.rerank` compares.

    A text longer than the model reads is cut, an empty one stood for by the tokens that stand around every text.
    EncodingError for a text without a usable vector; TooLate where the deadline leaves no time for all; Cancelled when
    it is cancelled; EncoderUnavailable where an encoder on another machine fails.
    """
    parts = [
        _part(reranker.source, texts[at : at + _PART], role, deadline or Deadline())
        for at in range(0, len(texts), _PART)
    ]
    return Embeddings(np.concatenate([part.vectors for part in parts]), sum(part.tokens for part in parts))


def _part(source: StateSource, texts: Sequence[str], role: Role, deadline: Deadline) -> Embeddings:
    deadline.check()
    texts = [text[: source.code_points] for text in texts]
    known = source.cached(texts, role)
    missing = [text for text, state in zip(texts, known, strict=True) if state is None]
    terms = list[Terms]()
    for run in runs([len(text) for text in missing]):
        deadline.check()
        terms += Terms.of_each(missing[run])
    found = iter(source.encode(missing, terms, deadline.at, deadline, role))
    states = [(state or next(found)) for state in known]
    encoded = [state.encoded for state in states if state is not None]
    if len(encoded) < len(texts):
        raise TooLate("not all of the texts could be embedded in the time that there is; send fewer at once")
    return Embeddings(np.concatenate([one.pooled for one in encoded]), sum(int(one.lengths.sum()) for one in encoded))
