"""The schema of the chart's values: a name or a value that does not exist is refused before anything is installed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter

from scripts.chart.settings_table import MOUNTED, Schema, Setting
from scripts.chart.values import Name, Values

_DRAFT = "http://json-schema.org/draft-07/schema#"  # what Helm 3 and Helm 4 both read


def schema(settings: Iterable[Setting]) -> Schema:
    """JSON Schema of values.yaml, strict at every level."""
    settings = [setting for setting in settings if setting.path[0] not in MOUNTED]
    made: Schema = _trimmed(Values.model_json_schema(by_alias=True))
    made["properties"] |= {
        "config": _with_metrics(tree(setting for setting in settings if not setting.secret)),
        "secretConfig": tree(setting for setting in settings if setting.secret),
        "existingSecret": _existing([setting.variable for setting in settings if setting.secret]),
        "global": {"type": "object", "description": "Helm's own; not read."},
    }
    made["required"] += ["config", "secretConfig", "existingSecret"]
    return {"$schema": _DRAFT, "title": "Values of the chart quantum-rerank", **made}


def tree(settings: Iterable[Setting]) -> Schema:
    """The settings as they nest, each with its bounds."""
    root: Schema = _group()
    for setting in settings:
        group = root
        for name in setting.path[:-1]:
            group = group["properties"].setdefault(name, _group())
        group["properties"][setting.path[-1]] = setting.schema | {"description": setting.description}
    return root


def _with_metrics(config: Schema) -> Schema:
    """The templates need the port, for Services and probes of Prometheus."""
    config["properties"]["operations"]["required"] = ["metrics_port"]
    return config | {"required": ["operations"]}


def _group() -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _existing(variables: list[str]) -> Schema:
    keys = {"type": "array", "uniqueItems": True, "items": {"enum": variables}}
    return _group() | {
        "properties": {"name": TypeAdapter(Name).json_schema(), "keys": keys},
        "required": ["name", "keys"],
    }


def _trimmed(made: Any) -> Any:
    """A schema without pydantic's titles and nulls: what is optional in values is left out."""
    if isinstance(made, list):
        return [_trimmed(inner) for inner in made]
    if not isinstance(made, dict):
        return made
    if "anyOf" in made:
        (made,) = [choice for choice in made["anyOf"] if choice.get("type") != "null"]
    if "patternProperties" in made:  # pydantic leaves other names open
        made = made | {"additionalProperties": False}
    return {
        key: {name: _trimmed(inner) for name, inner in value.items()} if key == "properties" else _trimmed(value)
        for key, value in made.items()
        if key not in {"title", "default"}
    }
