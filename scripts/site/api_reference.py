"""A page of the HTTP API made of docs/openapi.json: every operation, parameter, body and response, without scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from scripts.site.staging import DOCS

Schema = Mapping[str, Any]

_INTRO = """# API reference

Made of [openapi.json](openapi.json), which the service serves at `/openapi.json`. [http.md](http.md) explains it; the
service's own page `/docs` sends requests.
"""


def page() -> str:
    """The whole page."""
    described = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
    parts = [_INTRO, "## Operations\n"]
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            parts += _operation(method.upper(), path, operation)
    parts.append("## Schemas\n")
    for name, schema in described["components"]["schemas"].items():
        parts += _schema(name, schema)
    return "\n".join(parts)


def _operation(method: str, path: str, operation: Schema) -> Iterator[str]:
    yield f"### {method} {path}\n"
    yield f"{operation.get('description') or operation.get('summary', '')}\n"
    if parameters := operation.get("parameters"):
        yield "| parameter | in | type | meaning |\n|---|---|---|---|"
        for each in parameters:
            needed = ", required" if each.get("required") else ""
            kind = _type(each.get("schema", {}))
            yield f"| `{each['name']}` | {each['in']} | {kind}{needed} | {_cell(each.get('description', ''))} |"
        yield ""
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Body, `{kind}`: {_type(content.get('schema', {}))}.\n"
    yield "| status | body | when |\n|---|---|---|"
    for status, response in operation.get("responses", {}).items():
        bodies = [
            _type(content.get("schema", {})) or f"`{kind}`" for kind, content in response.get("content", {}).items()
        ]
        yield f"| {status} | {', '.join(bodies)} | {_cell(response.get('description', ''))} |"
    yield ""


def _schema(name: str, schema: Schema) -> Iterator[str]:
    yield f"### {name}\n"
    yield f"{schema.get('description', '')}\n"
    if properties := schema.get("properties"):
        required = schema.get("required", ())
        yield "| field | type | meaning |\n|---|---|---|"
        for field, about in properties.items():
            needed = ", required" if field in required else ""
            yield f"| `{field}` | {_type(about)}{needed} | {_cell(about.get('description', ''))} |"
        yield ""
    elif kind := _type(schema):
        yield f"{kind}\n"


def _type(schema: Schema) -> str:
    """A type in words, with links to the schemas that it names."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " or ".join(filter(None, (_type(each) for each in schema[key])))
    if values := schema.get("enum"):
        return " or ".join(f"`{value}`" for value in values)
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = str(schema.get("type", ""))
    if kind == "array":
        return f"list of {_type(schema.get('items', {})) or 'anything'}"
    bounds = [f"{word} {schema[key]}" for key, word in _BOUNDS.items() if key in schema]
    return f"{kind} ({', '.join(bounds)})" if bounds else kind


_BOUNDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}


def _cell(text: str) -> str:
    """A text as a cell of a markdown table."""
    return " ".join(text.split()).replace("|", "\\|")
