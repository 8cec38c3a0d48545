"""The one request that every dialect is translated to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.ranking.methods import Method

Document = str | dict[str, Any]  # as it was sent


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
    top_n: int | None = None  # None: all
    return_documents: bool | None = None  # None: only those from a collection
    method: Method | None = None
    exclude: tuple[str, ...] = ()
    deadline_ms: float | None = None  # 0: none; None: the setting's
    explain: bool = False
    raw_scores: bool = False
    max_tokens: int | None = None  # read of a document
    max_chunks: int | None = None
    spans: SpanOptions | None = None  # None: not wanted
    model: Any = None  # in any form
