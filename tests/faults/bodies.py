"""Invalid request bodies: the valid examples of every route, mutated in many ways."""

import copy
import gzip
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI

_TEXTS = (
    "",
    " ",
    "\x00",
    "\u0000\u0001\u001b[31m",
    "\u202e",
    "\ufeff",
    "é" * 300,
    "e\u0301",
    "😀",
    "\U000e0001",
    "x" * 5000,
)
_NUMBERS = (0, -1, 1, 2, 0.5, -0.0, 1e308, -1e308, 5e-324, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30)
_OTHERS = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"text": None},
    {"text": ["x"]},
    ["a", 1],
    [["a"]],
    {"a": {"b": []}},
)
JUNK = (*_TEXTS, *_NUMBERS, *_OTHERS)
_FIELDS = (
    *(
        "query",
        "documents",
        "texts",
        "input",
        "passages",
        "parameters",
        "top_n",
        "top_k",
        "return_documents",
        "return_text",
        "raw_scores",
        "model",
    ),
    *("method", "exclude", "deadline_ms", "explain", "collection", "candidates", "rank_fields", "relevant_spans"),
    *(
        "max_tokens_per_doc",
        "max_chunks_per_doc",
        "truncation",
        "encoding_format",
        "dimensions",
        "text1",
        "text2",
        "queries",
    ),
)
_TYPES = (
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "",
    "image/png; charset=\u00e9",
    "application/json; charset=utf-16",
)
_ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "utf-7", "latin-1", "cp037", "utf-8-sig")


@dataclass(frozen=True)
class Case:
    """A request to send."""

    number: int
    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def routes(app: FastAPI) -> list[tuple[str, list[dict[str, Any]]]]:
    """All paths with a POST operation that reads a body, with their example bodies."""
    examples_by_path = []
    for path, operations in app.openapi()["paths"].items():
        if "requestBody" in operations.get("post", {}):
            body = operations["post"]["requestBody"].get("content", {}).get("application/json", {})
            examples = [example["value"] for example in body.get("examples", {}).values()]
            examples_by_path.append((path.replace("{", "").replace("}", ""), examples or [{}]))
    return examples_by_path


def case(number: int, routes: list[tuple[str, list[dict[str, Any]]]]) -> Case:
    """The case with this number; deterministic."""
    chance = random.Random(number)  # noqa: S311 - deterministic
    path, examples = chance.choice(routes)
    valid = copy.deepcopy(chance.choice(examples))
    body = chance.choice(_MUTATIONS)(valid, chance)
    headers = {"Content-Type": chance.choice(_TYPES).encode().decode("latin-1")}
    if chance.random() < 0.02:
        headers["Content-Encoding"] = chance.choice(("gzip", "br", "identity", "", "x"))
    if chance.random() < 0.1:
        headers["X-Pinecone-API-Version"] = "2025-01"
    return Case(number, path, body, headers)


def _other_values(fields: Any, chance: random.Random) -> bytes:
    """Replace some values at any depth by junk, and add some fields."""
    for _ in range(chance.randint(1, 3)):
        if isinstance(fields, dict) and chance.random() < 0.4:
            fields[chance.choice(_FIELDS)] = _junk(chance)
        else:
            fields = _replaced(fields, chance)
    return json.dumps(fields).encode()


def _junk(chance: random.Random) -> Any:
    return copy.deepcopy(chance.choice(JUNK))  # a copy: a later change of it would be in all other cases


def _replaced(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        return value | {key: _replaced(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.7:
        at = chance.randrange(len(value))
        return [*value[:at], _replaced(value[at], chance), *value[at + 1 :]]
    return _junk(chance)


def _missing(fields: dict[str, Any], chance: random.Random) -> bytes:
    for key in list(fields):
        if chance.random() < 0.4:
            del fields[key]
    return json.dumps(fields).encode()


def _truncated(fields: Any, chance: random.Random) -> bytes:
    body = json.dumps(fields).encode()
    return body[: chance.randrange(len(body))]


def _garbled(fields: Any, chance: random.Random) -> bytes:
    body = bytearray(json.dumps(fields, ensure_ascii=chance.random() < 0.5).encode())
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(body) + 1)
        body[at : at + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 2))
    return bytes(body)


def _nested(fields: dict[str, Any], chance: random.Random) -> bytes:
    depth = chance.choice((100, 239, 240, 241, 254, 255, 1000, 1024, 1025, 100_000))
    opened, closed = chance.choice((("[", "]"), ('{"a":', "}"), ('[{"text":', "}]")))
    value = opened * depth + "1" + closed * depth
    if chance.random() < 0.2:
        return value.encode()
    fields[chance.choice((*fields, *_FIELDS))] = "HERE"
    return json.dumps(fields).replace('"HERE"', value).encode()


def _encoded(fields: Any, chance: random.Random) -> bytes:
    text = json.dumps(fields, ensure_ascii=False)
    if chance.random() < 0.2:
        return gzip.compress(text.encode())
    return text.encode(chance.choice(_ENCODINGS), errors="replace")


def _badly_escaped(fields: Any, chance: random.Random) -> bytes:
    text = json.dumps(fields)
    quotes = [at for at, char in enumerate(text) if char == '"']
    at = chance.choice(quotes) + 1
    bad = chance.choice((r"\ud800", r"\udc00\ud800", r"\u00", r"\x00", "\\", "\n", "\x00", r"\u0000"))
    return (text[:at] + bad + text[at:]).encode()


def _no_json(fields: Any, chance: random.Random) -> bytes:
    return chance.choice(
        (
            b"",
            b" ",
            b"NaN",
            b"Infinity",
            b"-",
            b"'a'",
            b"nul",
            b"{}",
            b"[]",
            b'"x"',
            b"1",
            b"query=a",
            chance.randbytes(50),
        )
    )


def _strange_numbers(fields: dict[str, Any], chance: random.Random) -> bytes:
    fields[chance.choice(_FIELDS)] = "HERE"
    number = chance.choice(
        ("NaN", "-Infinity", "1e999", "1" * 400, "01", "1.", ".5", "+1", "0x1", "1_0", "1e-400", "-0")
    )
    return json.dumps(fields).replace('"HERE"', number).encode()


def _twice(fields: dict[str, Any], chance: random.Random) -> bytes:
    key = chance.choice(list(fields) or ["query"])
    return (json.dumps(fields)[:-1] + f', "{key}": {json.dumps(chance.choice(JUNK))}}}').encode()


def _many(fields: dict[str, Any], chance: random.Random) -> bytes:
    fields[chance.choice(_FIELDS)] = [chance.choice(JUNK)] * chance.choice((101, 1001, 5000))
    return json.dumps(fields).encode()


_MUTATIONS: tuple[Callable[[Any, random.Random], bytes], ...] = (
    *(_other_values, _other_values, _other_values, _missing, _truncated, _garbled, _garbled, _nested, _encoded),
    *(_badly_escaped, _no_json, _strange_numbers, _twice, _many),
)
