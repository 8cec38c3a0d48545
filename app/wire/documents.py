"""What is ranked of a document that a client sent, and how it is shown again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from app.errors import InvalidRequest
from app.wire.request import Document


def text_of(document: Document, at: int, fields: Sequence[str] | None = None) -> str:
    """The text that is ranked of the document at a position; InvalidRequest if it has none.

    A string is itself. Of an object: the `fields` asked for, in their order; else its `text`; else the text parts of
    its `content` (vLLM, Dify); else all that it holds, as lines of "key: value".
    """
    if isinstance(document, str):
        return document
    if fields:
        chosen = [_plain(document[name]) for name in fields if document.get(name) is not None]
        if not chosen:
            raise _refused(at, "has none of the fields that `rank_fields` names")
        return "\n".join(chosen)
    if isinstance(document.get("text"), str):
        return str(document["text"])
    if "content" in document:
        return _content(document["content"], at)
    if "image" in document or not document:
        raise _refused(at, "holds no text; this service ranks text only")
    return "\n".join(f"{name}: {_plain(value)}" for name, value in document.items() if value is not None)


def as_object(document: Document, text: str) -> dict[str, Any]:
    """A document as clients read it that want an object with a `text`."""
    if isinstance(document, str):
        return {"text": document}
    return document if isinstance(document.get("text"), str) else {**document, "text": text}


def _content(content: object, at: int) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise _refused(at, "has content that is not text; this service ranks text only")
    return "\n".join(map(str, texts))


def _plain(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _refused(at: int, why: str) -> InvalidRequest:
    return InvalidRequest(f"document {at} {why}", ("documents", at))
