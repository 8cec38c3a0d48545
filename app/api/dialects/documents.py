"""The text of a document that is ranked, and the forms in which documents are returned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from app.errors import InvalidRequest
from app.service.request import Document


def text_of(
    document: Document, index: int, fields: Sequence[str] | None = None, field: Sequence[str] = ("documents",)
) -> str:
    """The text of a document that is ranked.

    A string is used as it is. For an object: the requested `fields`, in their order; else its `text`; else the text
    parts of its `content` (vLLM, Dify); else all its entries, as lines of "key: value". An entry that is null is none.

    Args:
        document: A string or an object.
        index: Position in the request, for the error.
        fields: Names of the fields to rank.
        field: Path of the list of documents in the body, for the error.

    Raises:
        InvalidRequest: The document has no text.
    """
    if isinstance(document, str):
        return document
    if fields:
        values = [_plain(document[name]) for name in fields if document.get(name) is not None]
        if not values:
            raise _error(index, field, "has none of the fields that `rank_fields` names")
        return "\n".join(values)
    if isinstance(document.get("text"), str):
        return str(document["text"])
    if document.get("content") is not None:
        return _content(document["content"], index, field)
    if document.get("image") is not None or not document:
        raise _error(index, field, "holds no text; this service ranks text only")
    return "\n".join(f"{name}: {_plain(value)}" for name, value in document.items() if value is not None)


def as_object(document: Document, text: str) -> dict[str, Any]:  # noqa: ARG001 - has the signature of `with_text`
    """A document as an object; one that was sent as an object is returned unchanged."""
    return {"text": document} if isinstance(document, str) else document


def with_text(document: Document, text: str) -> dict[str, Any]:
    """A document as an object with a `text`; an object whose `text` is none gets the ranked text."""
    returned = as_object(document, text)
    return returned if isinstance(returned.get("text"), str) else {**returned, "text": text}


def as_text(document: Document, text: str) -> str:  # noqa: ARG001 - has the signature of `with_text`
    """A document as a string: its ranked text."""
    return text


def _content(content: object, index: int, field: Sequence[str]) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise _error(index, field, "has content that is not text; this service ranks text only")
    return "\n".join(map(str, texts))


def _plain(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _error(index: int, field: Sequence[str], reason: str) -> InvalidRequest:
    return InvalidRequest(f"document {index} {reason}", (*field, index))
