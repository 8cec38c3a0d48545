"""What is ranked of a document that a client sent, and how it is shown again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from app.errors import InvalidRequest
from app.service.request import Document


def text_of(
    document: Document, at: int, fields: Sequence[str] | None = None, field: Sequence[str] = ("documents",)
) -> str:
    """The text that is ranked of the document at a position of a field; InvalidRequest if it has none.

    A string is itself. Of an object: the `fields` asked for, in their order; else its `text`; else the text parts of
    its `content` (vLLM, Dify); else all that it holds, as lines of "key: value".
    """
    if isinstance(document, str):
        return document
    if fields:
        chosen = [_plain(document[name]) for name in fields if document.get(name) is not None]
        if not chosen:
            raise _refused(at, field, "has none of the fields that `rank_fields` names")
        return "\n".join(chosen)
    if isinstance(document.get("text"), str):
        return str(document["text"])
    if "content" in document:
        return _content(document["content"], at, field)
    if "image" in document or not document:
        raise _refused(at, field, "holds no text; this service ranks text only")
    return "\n".join(f"{name}: {_plain(value)}" for name, value in document.items() if value is not None)


def as_object(document: Document, text: str) -> dict[str, Any]:  # noqa: ARG001 - a way to show
    """A document for clients that want an object. One that was sent as an object comes back as it is."""
    return {"text": document} if isinstance(document, str) else document


def with_text(document: Document, text: str) -> dict[str, Any]:
    """A document for clients that insist on a `text`: an object that has none gets what is ranked of it."""
    shown = as_object(document, text)
    return shown if "text" in shown else {**shown, "text": text}


def as_text(document: Document, text: str) -> str:  # noqa: ARG001 - the other way
    """A document for clients that want a string: what is ranked of it."""
    return text


def _content(content: object, at: int, field: Sequence[str]) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise _refused(at, field, "has content that is not text; this service ranks text only")
    return "\n".join(map(str, texts))


def _plain(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _refused(at: int, field: Sequence[str], why: str) -> InvalidRequest:
    return InvalidRequest(f"document {at} {why}", (*field, at))
