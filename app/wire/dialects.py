"""Which dialect a body is in: what it holds tells, not where it was sent (shared facts: docs/clients.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.errors import InvalidRequest
from app.wire import mixedbread, pinecone, standard, tei, voyage
from app.wire.body import Body, validate
from app.wire.outcome import Outcome
from app.wire.request import RerankRequest


@dataclass(frozen=True)
class Dialect:
    """How one family of clients asks and wants to be answered."""

    name: str
    body: type[Body]
    respond: Callable[[Outcome], object]
    detail_is_text: bool = False  # of a 422; other clients expect FastAPI's list there

    def request(self, fields: object) -> RerankRequest:
        """A body's fields as a request; InvalidRequest says what is wrong with them."""
        return validate(self.body, fields).to_request()


STANDARD = Dialect("standard", standard.StandardBody, standard.respond)
STANDARD_WITH_DATA = Dialect("standard", standard.StandardBody, standard.respond_with_data)
INFINITY = Dialect("infinity", standard.StandardBody, standard.respond_in_text)
TEI = Dialect("tei", tei.TeiBody, tei.respond, detail_is_text=True)
VOYAGE = Dialect("voyage", voyage.VoyageBody, voyage.respond, detail_is_text=True)
MIXEDBREAD = Dialect("mixedbread", mixedbread.MixedbreadBody, mixedbread.respond)
PINECONE = Dialect("pinecone", pinecone.PineconeBody, pinecone.respond)

_BY_PATH = {"/v1/rerank": STANDARD_WITH_DATA, "/infinity/rerank": INFINITY}
_NOT_VOYAGES = {"top_n", "candidates", "collection", "method", "exclude", "deadline_ms", "explain"}


def dialect_of(fields: Mapping[str, Any], path: str, headers: Mapping[str, str]) -> Dialect:
    """The dialect of a body's fields; InvalidRequest where they are of two.

    Voyage is told by its keys, whatever their values, unless there is a key that none of its clients sends.
    """
    if fields.get("texts") is not None:
        if fields.get("documents") is not None:
            raise InvalidRequest("send either `texts` or `documents`, not both")
        return TEI
    if fields.get("input") is not None and fields.get("documents") is None:
        return MIXEDBREAD
    if pinecone.HEADER in headers:
        return PINECONE
    if fields.get("documents") is not None and ("top_k" in fields or "truncation" in fields):
        return VOYAGE if _NOT_VOYAGES.isdisjoint(fields) else _BY_PATH.get(path, STANDARD)
    return _BY_PATH.get(path, STANDARD)
