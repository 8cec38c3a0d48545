"""A small reranking whose right answer is known."""

from __future__ import annotations

from app.errors import NotReady
from app.ranking.reranker import Reranker


def check_order(reranker: Reranker, number: int) -> None:
    """NotReady if the model puts nonsense first. number: one that it was not asked for before, so that it must read."""
    query = f"which bird sings at night, asks {number}"
    # The right answer comes last, where it stays if all scores are equal.
    documents = [f"stock prices fell sharply, says {number}", f"the nightingale sings after dusk, says {number}"]
    ranking = reranker.rerank(query, documents)
    if ranking.encoded < len(documents) or ranking.order[0] != 1:
        raise NotReady("the model put a probe's answer below a text about something else; its files may be damaged")
