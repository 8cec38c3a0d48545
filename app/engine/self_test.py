"""Self-test of a model: a small reranking with a known result."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from app.errors import NotReady
from app.ranking.reranker import Reranker
from retrieval.deadline import Deadline

if TYPE_CHECKING:
    from retrieval.cross_encoder.cross_encoder import CrossEncoder


def check_order(reranker: Reranker, number: int) -> None:
    """Rerank two documents, of which one is relevant.

    Args:
        reranker: The model's reranker.
        number: Part of each text. It must be new, so that no text is cached.

    Raises:
        NotReady: The relevant document was not ranked first, or not all documents were encoded.
        EncoderUnavailable: The server of a remote model fails.
    """
    query = f"which bird sings at night, asks {number}"
    # The relevant document comes last; equal scores would leave it there.
    documents = [f"stock prices fell sharply, says {number}", f"the nightingale sings after dusk, says {number}"]
    ranking = reranker.rerank(query, documents)
    if ranking.unavailable:
        raise ranking.unavailable
    if ranking.encoded < len(documents) or ranking.order[0] != 1:
        raise NotReady("the model ranked the probe's relevant document last; its files may be damaged")


def check_pairs(cross_encoder: CrossEncoder) -> None:
    """Have a cross-encoder read two documents, of which one is relevant; NotReady unless it gets the higher score."""
    documents = ["stock prices fell sharply", "the nightingale sings after dusk"]
    scores = cross_encoder.scores("which bird sings at night", documents, math.inf, Deadline())
    if not scores[1] > scores[0]:
        raise NotReady("the cross-encoder ranked the relevant one of two documents last; its files may be damaged")
