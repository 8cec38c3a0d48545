"""Generates the chart's values schema, and the files that its templates read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from monitoring.__main__ import files as monitoring_files
from scripts.chart.settings_table import MOUNTED, Schema, Setting, settings
from scripts.chart.values import Name, Values

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "quantum-rerank"

_DRAFT = "http://json-schema.org/draft-07/schema#"  # supported by Helm 3 and Helm 4


def files() -> Mapping[str, str]:
    """The generated files by their path in the chart."""
    rows = settings()
    entries = [{"path": row.path, "variable": row.variable, "secret": row.secret} for row in _configurable(rows)]
    return {
        "values.schema.json": json.dumps(schema(rows), indent=2, ensure_ascii=False) + "\n",
        "files/settings.json": "[\n" + ",\n".join(map(json.dumps, entries)) + "\n]\n",  # one setting per line
        "files/dashboard.json": monitoring_files()["dashboard.json"],
    }


def drifted(chart: Path = CHART) -> list[str]:
    """The generated files that are missing or out of date."""
    return [
        name
        for name, text in files().items()
        if not (chart / name).exists() or (chart / name).read_text(encoding="utf-8") != text
    ]


def _configurable(rows: Iterable[Setting]) -> list[Setting]:
    """Settings that the chart does not fix itself."""
    return [row for row in rows if row.path[0] not in MOUNTED]


def schema(rows: Iterable[Setting]) -> Schema:
    """JSON Schema of values.yaml, strict at every level: unknown names and invalid values are rejected."""
    rows = _configurable(rows)
    values: Schema = _trimmed(Values.model_json_schema(by_alias=True))
    config = _tree(row for row in rows if not row.secret) | {"required": ["operations"]}
    config["properties"]["operations"]["required"] = ["metrics_port"]  # used by Services and ServiceMonitors
    keys = {"type": "array", "uniqueItems": True, "items": {"enum": [row.variable for row in rows if row.secret]}}
    existing = {"name": TypeAdapter(Name).json_schema(), "keys": keys}
    values["properties"] |= {
        "config": config,
        "secretConfig": _tree(row for row in rows if row.secret),
        "existingSecret": _group() | {"properties": existing, "required": ["name", "keys"]},
        "global": {"type": "object", "description": "Reserved by Helm; not used."},
    }
    values["required"] += ["config", "secretConfig", "existingSecret"]
    return {"$schema": _DRAFT, "title": "Values of the chart quantum-rerank", **values}


def _tree(rows: Iterable[Setting]) -> Schema:
    """The nested schema of the settings, with their bounds."""
    root: Schema = _group()
    for row in rows:
        group = root
        for name in row.path[:-1]:
            group = group["properties"].setdefault(name, _group())
        group["properties"][row.path[-1]] = row.schema | {"description": row.description}
    return root


def _group() -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _trimmed(schema: Any) -> Any:
    """A schema without pydantic's titles, defaults and nulls: optional values are omitted instead."""
    if isinstance(schema, list):
        return [_trimmed(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    if "anyOf" in schema:
        (schema,) = [choice for choice in schema["anyOf"] if choice.get("type") != "null"]
    if "patternProperties" in schema:  # pydantic allows other names
        schema = schema | {"additionalProperties": False}
    return {
        key: {name: _trimmed(inner) for name, inner in value.items()} if key == "properties" else _trimmed(value)
        for key, value in schema.items()
        if key not in {"title", "default"}
    }
