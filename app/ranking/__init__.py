"""The reranking pipeline, usable as a library: `from app.ranking import Reranker`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.ranking.reranker import Ranking, Reranker

__all__ = ["Ranking", "Reranker"]


def __getattr__(name: str) -> object:
    """Load the pipeline when it is first asked for: `app.ranking.methods` alone needs neither FAISS nor the model."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from app.ranking import reranker

    return getattr(reranker, name)
