"""Texts as vectors. Runs in a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidRequest, TooLarge, TooLate
from app.ranking.reranker import Reranker
from app.settings import LimitSettings
from retrieval.deadline import Deadline
from retrieval.encoder.protocol import Encoder, Role
from retrieval.states.source import StateSource
from retrieval.text.bm25 import terms_of

_PART = 100  # texts whose token states, which come with the vectors, are held at once


@dataclass(frozen=True)
class Embeddings:
    """Of n texts."""

    vectors: NDArray[np.float32]  # (n, P) unit rows
    tokens: int  # that the encoder read for them, now or once


def check_count(texts: Sequence[str], limits: LimitSettings) -> None:
    """TooLarge for more texts than the limit, naming both numbers."""
    if len(texts) > limits.documents:
        raise TooLarge(f"{len(texts)} texts were sent and at most {limits.documents} are taken; send them in parts")


def check_dimensions(asked: int | None, encoder: Encoder) -> None:
    """InvalidRequest unless the model's vectors are so long, or no length is asked for."""
    own = encoder.encode([]).pooled.shape[1]
    if asked not in {None, own}:
        raise InvalidRequest(
            f"dimensions: {encoder.name} gives vectors of {own}, which are not shortened; send {own}, or leave it out",
            ("dimensions",),
        )


def embed(
    reranker: Reranker, texts: Sequence[str], role: Role = "document", deadline: Deadline | None = None
) -> Embeddings:
    """The pooled vectors of n ≥ 1 texts, the same that `Reranker.rerank` compares.

    A text longer than the model reads is cut, an empty one stood for by the tokens that stand around every text.
    EncodingError for a text without a usable vector; TooLate where the deadline leaves no time for all; Cancelled when
    it is cancelled.
    """
    parts = [
        _part(reranker.source, texts[at : at + _PART], role, deadline or Deadline())
        for at in range(0, len(texts), _PART)
    ]
    return Embeddings(np.concatenate([part.vectors for part in parts]), sum(part.tokens for part in parts))


def _part(source: StateSource, texts: Sequence[str], role: Role, deadline: Deadline) -> Embeddings:
    deadline.check()
    texts = [text[: source.code_points] for text in texts]
    known = source.known(texts, role)
    missing = [text for text, state in zip(texts, known, strict=True) if state is None]
    terms = []
    for text in missing:
        deadline.check()
        terms.append(terms_of(text))
    found = iter(source.find(missing, terms, deadline.at, deadline, role))
    states = [(state or next(found)) for state in known]
    encoded = [state.encoded for state in states if state is not None]
    if len(encoded) < len(texts):
        raise TooLate("not all of the texts could be embedded in the time that there is; send fewer at once")
    return Embeddings(np.concatenate([one.pooled for one in encoded]), sum(int(one.lengths.sum()) for one in encoded))
