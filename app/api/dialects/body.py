"""Field types shared by the bodies of all dialects, JSON parsing, and validation with readable messages."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

import numpy as np
import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from app.api.dialects.broken_text import broken_text
from app.errors import InvalidRequest, MalformedBody, TooLarge
from app.service.request import Document, RerankRequest
from retrieval.store.filters import Filter, parse
from retrieval.text.languages import check_language
from retrieval.text.sentences import VISIBLE

_SHOWN_ERRORS = 3
_MAX_NAMES = 64  # names in a list, and characters of a name in a message
_NO_TEXT = {b"\x1f": "it is compressed", b"\xff": "it is UTF-16", b"\xfe": "it is UTF-16"}  # by the first byte
_BYTE_ORDER_MARK = "\ufeff".encode()  # some clients send it before the JSON
_ORJSON_DEPTH = 254  # the deepest nesting that orjson serializes
_MAX_DEPTH = 240  # a response adds some levels around the documents that it returns
_NOUNS = {
    "documents": "documents",
    "candidates": "documents",
    "passages": "documents",
    "texts": "documents",
    "input": "texts",
    "ids": "ids",
}
_SMALL_BYTES = 2**17
_SURROGATE = re.compile(
    rb"\\u[dD][89abAB]"
)  # escaped half of a code point above U+FFFF; found by its literal beginning
_FOUR_BYTES = 0xF0  # from here on the first byte of such a code point in UTF-8
_SIZES = {
    b"{": 232,
    b"[": 88,
    b":": 50,
    b'"': 30,
    b",": 32,
}  # CPython's sizes in bytes: dict, list, dict entry, half a str, number
_MESSAGES = {  # in place of pydantic's own messages
    "int_parsing_size": "is too large a number",
    "string_too_short": "must not be empty",
    "too_short": "must hold at least one entry",
    "model_type": "must be a JSON object",
    "missing": "is required",
    "extra_forbidden": "is not known here",
}


def _check_documents(value: object) -> object:
    """Give one message for the first invalid document; pydantic's union type would give two for each."""
    for index, item in enumerate(value if isinstance(value, list) else ()):
        if not isinstance(item, str | dict):
            # pydantic turns only ValueError into a validation error, not TypeError
            raise ValueError(f"document {index} is neither text nor an object with a `text` field")  # noqa: TRY004
    return value


def _stripped(value: object) -> object:
    """Strip white space; a text without a visible character becomes empty. Pydantic would keep U+001C and U+200B."""
    if isinstance(value, str):
        return value.strip() if VISIBLE.search(value) else ""
    return value


def _number(value: object) -> object:
    """Refuse true, which pydantic takes for 1: it would, for example, limit documents to one token."""
    if value is True:
        raise ValueError("must be a number, not true")
    return value


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _digits(value: object) -> object:
    """Take a number for its digits, as exports of databases have ids; not true, which is 1 elsewhere."""
    return str(value) if type(value) is int else value


def _names(value: object) -> object:
    """Remove duplicate names: each would repeat its field in the ranked text."""
    names = _as_list(value)
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return list(dict.fromkeys(names))
    return names


def _query_text(value: object) -> object:
    """Take the `text` of a query that is sent as an object."""
    return value.get("text", value) if isinstance(value, dict) else value


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), BeforeValidator(_stripped)]
Query = Annotated[Text, BeforeValidator(_query_text)]
Documents = Annotated[list[Document], BeforeValidator(_check_documents), Field(min_length=1)]
Texts = Annotated[list[str], Field(min_length=1)]
Names = Annotated[list[str], BeforeValidator(_names), Field(max_length=_MAX_NAMES)]
Phrases = Annotated[list[Text], BeforeValidator(_as_list)]
Number = BeforeValidator(_number)
Digits = BeforeValidator(_digits)
Count = Annotated[int, Field(ge=1), Number]
Selecting = Annotated[Filter, PlainValidator(parse, json_schema_input_type=dict[str, Any])]
MinScore = Annotated[
    Annotated[float, Field(ge=0, le=1), Number] | None,
    Field(description="Return nothing with a lower score; an empty list is an answer. Absent: the service's setting."),
]
Language = Annotated[
    Annotated[str, AfterValidator(check_language)] | None,
    Field(description="Language of query and documents: a code such as `de`, `none`, or `auto`, which detects it."),
]
Model = Annotated[
    Any, Field(None, description="Any JSON value; echoed in the response. Selects one of the served models.")
]


class Body(BaseModel):
    """A request in one dialect. Optional fields may be null, unknown ones are ignored."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    def to_request(self) -> RerankRequest:
        """Translate into the request that all dialects share; InvalidRequest for a document without text."""
        raise NotImplementedError


class StrictBody(BaseModel):
    """A body that refuses unknown fields; null means the same as leaving a field out, as in all bodies.

    A misspelt `expires_days` would else create a key that never expires.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _leave_nulls_out(cls, fields: object) -> object:
        if isinstance(fields, dict) and None in fields.values():
            return {name: value for name, value in fields.items() if value is not None}
        return fields


B = TypeVar("B", bound=BaseModel)


def fields_of(body: bytes) -> Any:
    """Parse a body's JSON, in UTF-8; a byte order mark before it is skipped.

    MalformedBody if it is not JSON, or nested too deep to be returned in a response.
    """
    body = body.removeprefix(_BYTE_ORDER_MARK)
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        reason = broken_text(body) or _NO_TEXT.get(body[:1]) or f"{error.msg} at byte {error.pos}"
        raise MalformedBody(f"the body is not JSON in UTF-8: {reason}") from error
    if body.count(b"[") + body.count(b"{") > _MAX_DEPTH:  # a cheap upper bound of the depth
        _check_depth(fields)
    return fields


def memory_of(body: bytes) -> int:
    """Upper bound of the bytes that a body's JSON takes once parsed, from the counts of its delimiters and its length.

    A few bytes can become an object of some hundred bytes: 16 MB of `{"a":1}` become a gigabyte.
    """
    return 0 if len(body) < _SMALL_BYTES else _parsed_bytes(body)


def _parsed_bytes(body: bytes) -> int:
    char_bytes = 1 if body.isascii() else 2  # CPython uses the width of the widest code point in a str
    # The largest byte of 100 kB is found in 3 µs; an expression that reads each takes a millisecond.
    if np.frombuffer(body, dtype=np.uint8).max(initial=0) >= _FOUR_BYTES or _SURROGATE.search(body):
        char_bytes = 4
    return char_bytes * len(body) + sum(size * body.count(mark) for mark, size in _SIZES.items())


def check_lists(fields: Any, most: int) -> Any:
    """The body's fields; TooLarge if a list in the body, or in an object of it, has more than `most` entries.

    Called before validation: validating a million entries takes seconds.
    """
    for name, value in fields.items() if isinstance(fields, dict) else ():
        if isinstance(value, list) and len(value) > most:
            noun = _NOUNS.get(name, f"entries of `{name[:_MAX_NAMES]}`")
            raise TooLarge(f"{len(value)} {noun} were sent and at most {most} are taken; send them in parts")
        if isinstance(value, dict):
            check_lists(value, most)
    return fields


def _check_depth(fields: object) -> None:
    for _ in range(_ORJSON_DEPTH - _MAX_DEPTH):
        fields = [fields]
    try:
        orjson.dumps(fields)
    except TypeError as error:
        raise MalformedBody(f"the JSON is nested deeper than {_MAX_DEPTH} levels") from error


def validate(model: type[B], fields: object) -> B:
    """Validate fields as a model; the message of InvalidRequest does not repeat the client's values."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise _explained(error) from error


def place_of(item: ErrorDetails) -> list[int | str]:
    """Which field it is, by indices and names; long names are cut: an answer does not repeat a whole body."""
    return [part if isinstance(part, int) else part[:_MAX_NAMES] for part in item["loc"]]


def message_of(item: ErrorDetails) -> str:
    """What is wrong with a field, by what pydantic says."""
    return _MESSAGES.get(item["type"], item["msg"].removeprefix("Value error, "))


def _explained(error: ValidationError) -> InvalidRequest:
    items = error.errors(include_url=False, include_context=False, include_input=False)
    lines = []
    for item in items[:_SHOWN_ERRORS]:
        path = ".".join(map(str, place_of(item)))
        message = message_of(item)
        if item["type"] == "model_type" and not path:
            message = f"the body {message}"
        lines.append(f"{path}: {message}" if path else message)
    return InvalidRequest("; ".join(lines), place_of(items[0]))
