"""Generates the chart's values schema, README, and the files that its templates read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from monitoring.__main__ import files as monitoring_files
from scripts.chart.settings_table import MOUNTED, Schema, Setting, settings
from scripts.chart.values import Name, Values

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "quantum-rerank"

_DRAFT = "http://json-schema.org/draft-07/schema#"  # supported by Helm 3 and Helm 4
_TABLE, _END = "<!-- values -->", "<!-- end -->"  # around the table in the README
_COMMENT = re.compile(r"^ *# -- (?P<text>.*)$")
_KEY = re.compile(r"^(?P<indent> *)(?P<name>[\w-]+):")


def files() -> Mapping[str, str]:
    """The generated files by their path in the chart."""
    rows = settings()
    values = (CHART / "values.yaml").read_text(encoding="utf-8")
    entries = [{"path": row.path, "variable": row.variable, "secret": row.secret} for row in _configurable(rows)]
    return {
        "values.schema.json": json.dumps(schema(rows), indent=2, ensure_ascii=False) + "\n",
        "README.md": readme((CHART / "README.md").read_text(encoding="utf-8"), values),
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


def readme(text: str, values: str) -> str:
    """The README with the table of values between its two marks. ValueError if a value lacks a description."""
    before, _, rest = text.partition(_TABLE)
    _, _, after = rest.partition(_END)
    return f"{before}{_TABLE}\n\n{_values_table(values)}\n\n{_END}{after}"


def documented(values: str) -> dict[str, str]:
    """The descriptions from the comments, by the value's path such as `image.tag`."""
    descriptions: dict[str, str] = {}
    parents: list[tuple[int, str]] = []  # indentation and name
    description = ""
    for line in values.splitlines():
        if comment := _COMMENT.match(line):
            description = comment["text"]
        elif key := _KEY.match(line):
            depth = len(key["indent"])
            parents = [(indent, name) for indent, name in parents if indent < depth] + [(depth, key["name"])]
            if description:
                descriptions[".".join(name for _, name in parents)] = description
            description = ""
    return descriptions


def _values_table(text: str) -> str:
    descriptions = documented(text)
    rows = ["| value | default | |", "|---|---|---|"]
    for path, default in _leaves(yaml.safe_load(text), "", descriptions):
        if path not in descriptions:
            raise ValueError(f"values.yaml does not describe {path}: put `# -- …` above it")
        rows.append(f"| `{path}` | {_cell(default)} | {_escaped(descriptions[path])} |")
    return "\n".join(rows)


def _leaves(values: dict[str, Any], prefix: str, descriptions: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """Every value with its path; a map that is described as a whole is one value."""
    for name, value in values.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and value and path not in descriptions:
            yield from _leaves(value, f"{path}.", descriptions)
        else:
            yield path, value


def _cell(value: object) -> str:
    """A default value; long lists and maps refer to values.yaml."""
    text = json.dumps(value, ensure_ascii=False)
    if value in (None, "", [], {}):
        return ""
    return f"`{_escaped(text)}`" if len(text) <= 80 else "see values.yaml"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
