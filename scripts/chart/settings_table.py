"""Every setting of the service as one row: what the chart's schema, its ConfigMap and its README are made of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.settings import Settings

PREFIX = "QRERANK_"
MOUNTED = {"data_dir": "/data", "model_dir": "/models"}  # the chart's to say: they are where its volumes are

Schema = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """One setting. schema: JSON Schema of its value, with its bounds; default: as JSON, None where there is none."""

    path: tuple[str, ...]
    schema: Schema
    default: object
    description: str

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + "__".join(self.path).upper()

    @property
    def secret(self) -> bool:
        """Whether its value belongs into a Secret."""
        return '"writeOnly": true' in json.dumps(self.schema)

    @property
    def kind(self) -> str:
        """Its type and bounds, in words."""
        schema = self.schema
        if "enum" in schema:
            return ", ".join(f"`{value}`" for value in schema["enum"])
        if schema["type"] == "array":
            items = schema["items"]
            return f"list of {', '.join(items['enum']) if 'enum' in items else items['type'] + 's'}"
        return f"{schema['type']}{_bounds(schema)}"


def settings() -> list[Setting]:
    """All of them, in the order of `Settings`."""
    schema = Settings.model_json_schema()
    return list(_leaves(schema, schema.get("$defs", {}), ()))


def _leaves(group: Schema, named: Mapping[str, Schema], path: tuple[str, ...]) -> Iterator[Setting]:
    for name, found in group["properties"].items():
        inner = _resolved(found, named)
        if "properties" in inner:
            yield from _leaves(inner, named, (*path, name))
        else:
            bare = {key: value for key, value in inner.items() if key not in {"title", "default", "description"}}
            yield Setting((*path, name), bare, found.get("default"), found.get("description", ""))


def _resolved(schema: Schema, named: Mapping[str, Schema]) -> Schema:
    """A schema without references, and without null: Helm takes a null for "as if it were not there"."""
    if "$ref" in schema:
        return named[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        (only,) = (choice for choice in schema["anyOf"] if choice.get("type") != "null")
        return _resolved(only, named)
    return schema


def _bounds(schema: Schema) -> str:
    least = schema.get("minimum", schema.get("exclusiveMinimum"))
    if least is not None:
        above = "above " if "exclusiveMinimum" in schema else ""
        return f", {above}{least:,} to {schema['maximum']:,}"
    shortest, longest = schema.get("minLength"), schema.get("maxLength")
    if longest:
        return f", {shortest} to {longest} characters"
    return f", {shortest} characters or more" if (shortest or 0) > 1 else ""
