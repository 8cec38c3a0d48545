"""What the bodies of all dialects share: field types, and validation whose messages say what to do."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from app.api.dialects.broken_text import broken_text
from app.errors import InvalidRequest, MalformedBody, TooLarge
from app.service.request import Document, RerankRequest
from retrieval.text.sentences import VISIBLE

_SHOWN_ERRORS = 3
_MOST_NAMES = 64
_BYTE_ORDER_MARK = "\ufeff".encode()  # some clients write it before JSON
_WRITTEN_DEPTH = 254  # orjson writes no deeper
_DEPTH = 240  # an answer adds some levels of its own around what it repeats
_NOUNS = {
    "documents": "documents",
    "candidates": "documents",
    "passages": "documents",
    "texts": "documents",
    "input": "texts",
}
_SMALL = 2**16
_ASTRAL = re.compile(rb"[\xf0-\xf4]|\\u[dD][89abAB]")  # code points above U+FFFF, or their surrogates
_SIZES = {b"{": 232, b"[": 88, b":": 50, b'"': 30, b",": 32}  # of CPython's: dict, list, entry, half a text, number
_PLAINER = {  # than pydantic's own messages
    "string_too_short": "must not be empty",
    "too_short": "must hold at least one entry",
    "model_type": "must be a JSON object",
    "missing": "is required",
}


def _check_documents(value: object) -> object:
    """One plain message for the first bad document, where a union type would give two for each."""
    for at, item in enumerate(value if isinstance(value, list) else ()):
        if not isinstance(item, str | dict):
            # pydantic reports ValueError as a validation error, TypeError not
            raise ValueError(f"document {at} is neither text nor an object with a text in `text`")  # noqa: TRY004
    return value


def _stripped(value: object) -> object:
    """White space goes, and all of a text that holds nothing to read; pydantic would keep U+001C and U+200B."""
    if not isinstance(value, str):
        return value
    return "" if not VISIBLE.search(value) else value.strip()


def _number(value: object) -> object:
    """A boolean is no number; as 1, `true` would read one token of each document."""
    if value is True:
        raise ValueError("must be a number, not true")
    return value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _names(value: object) -> object:
    """Each name once: one that stands there a thousand times would repeat its field as often."""
    listed = _listed(value)
    if isinstance(listed, list) and all(isinstance(name, str) for name in listed):
        return list(dict.fromkeys(listed))
    return listed


def _query_text(value: object) -> object:
    """Some clients send the query as an object."""
    return value.get("text", value) if isinstance(value, dict) else value


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), BeforeValidator(_stripped)]
Query = Annotated[Text, BeforeValidator(_query_text)]
Documents = Annotated[list[Document], BeforeValidator(_check_documents), Field(min_length=1)]
Texts = Annotated[list[str], Field(min_length=1)]
Names = Annotated[list[str], BeforeValidator(_names), Field(max_length=_MOST_NAMES)]
Phrases = Annotated[list[Text], BeforeValidator(_listed)]
Number = BeforeValidator(_number)
Count = Annotated[int, Field(ge=1), Number]
Model = Annotated[Any, Field(None, description="In any form; echoed. It chooses among the models that are served.")]


class Body(BaseModel):
    """A request in one dialect. Optional fields may be null, unknown ones are ignored."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    def to_request(self) -> RerankRequest:
        """The same, as every dialect's is; InvalidRequest for a document without text."""
        raise NotImplementedError


B = TypeVar("B", bound=BaseModel)


def fields_of(body: bytes, most: int | None = None) -> Any:
    """A body's JSON; MalformedBody if it is none, or nested too deep to be written back within an answer.

    A byte order mark before it is skipped. most: entries of a list; TooLarge for a longer one.
    """
    body = body.removeprefix(_BYTE_ORDER_MARK)
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        why = broken_text(body) or f"{error.msg} at byte {error.pos}"
        raise MalformedBody(f"the body is not JSON in UTF-8: {why}") from error
    if body.count(b"[") + body.count(b"{") > _DEPTH:  # else it cannot be that deep
        _check_depth(fields)
    if most is not None:
        check_lists(fields, most)
    return fields


def memory_of(body: bytes) -> int:
    """Bytes that a body's JSON may take once it is read, from above: by what opens and ends values, and its text.

    A few bytes may be an object of some hundred: 16 MB of `{"a":1}` are a gigabyte.
    """
    if len(body) < _SMALL:
        return 0
    wide = 1 if body.isascii() else 2  # bytes of a code point, at least two where there is a single one above U+00FF
    if _ASTRAL.search(body):
        wide = 4
    return wide * len(body) + sum(size * body.count(mark) for mark, size in _SIZES.items())


def check_lists(fields: object, most: int) -> None:
    """TooLarge where a list of the body, or of an object in it, has more entries than documents are taken.

    Before anything is made of them: to validate a million takes seconds.
    """
    for name, value in fields.items() if isinstance(fields, dict) else ():
        if isinstance(value, list) and len(value) > most:
            what = _NOUNS.get(name, f"entries of `{name[:_MOST_NAMES]}`")
            raise TooLarge(f"{len(value)} {what} were sent and at most {most} are taken; send them in parts")
        if isinstance(value, dict):
            check_lists(value, most)


def _check_depth(fields: object) -> None:
    for _ in range(_WRITTEN_DEPTH - _DEPTH):
        fields = [fields]
    try:
        orjson.dumps(fields)
    except TypeError as error:
        raise MalformedBody(f"the JSON is nested deeper than {_DEPTH} levels") from error


def validate(model: type[B], fields: object) -> B:
    """Fields as this model; InvalidRequest says what is wrong, without repeating what was sent."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise _explained(error) from error


def _explained(error: ValidationError) -> InvalidRequest:
    items = error.errors(include_url=False, include_context=False, include_input=False)
    lines = []
    for item in items[:_SHOWN_ERRORS]:
        where = ".".join(str(part) for part in item["loc"])
        message = _PLAINER.get(item["type"], item["msg"].removeprefix("Value error, "))
        if item["type"] == "model_type" and not where:
            message = f"the body {message}"
        lines.append(f"{where}: {message}" if where else message)
    return InvalidRequest("; ".join(lines), items[0]["loc"])
