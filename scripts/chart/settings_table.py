"""The settings of the service as rows, from which the chart's schema and ConfigMap are generated."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.settings import Settings

PREFIX = "QRERANK_"
MOUNTED = {"data_dir": "/data", "model_dir": "/models"}  # fixed by the chart: the mount points of its volumes

Schema = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """One setting. schema: JSON Schema of its value, with bounds; default: as JSON, None if there is none."""

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
        """Whether its value belongs in a Secret."""
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
    """All settings, in the order of `Settings`."""
    schema = Settings.model_json_schema()
    return list(_leaves(schema, schema.get("$defs", {}), ()))


def _leaves(group: Schema, definitions: Mapping[str, Schema], path: tuple[str, ...]) -> Iterator[Setting]:
    for name, field in group["properties"].items():
        inner = _resolved(field, definitions)
        if "properties" in inner:
            yield from _leaves(inner, definitions, (*path, name))
        else:
            bare = {key: value for key, value in inner.items() if key not in {"title", "default", "description"}}
            yield Setting((*path, name), bare, field.get("default"), field.get("description", ""))


def _resolved(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """A schema without references and without null, which Helm treats as a missing value."""
    if "$ref" in schema:
        return definitions[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        (only,) = (choice for choice in schema["anyOf"] if choice.get("type") != "null")
        return _resolved(only, definitions)
    if isinstance(schema.get("additionalProperties"), dict):  # of a map by name
        return schema | {"additionalProperties": _resolved(schema["additionalProperties"], definitions)}
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
