"""What of the chart is made of something else: the values' schema, the README, and what the templates read."""

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

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CHART = ROOT / "helm" / "quantum-rerank"

_DRAFT = "http://json-schema.org/draft-07/schema#"  # what Helm 3 and Helm 4 both read
_COMMENT = re.compile(r"^ *# -- (?P<text>.*)$")
_KEY = re.compile(r"^(?P<indent> *)(?P<name>[\w-]+):")


def files() -> Mapping[str, str]:
    """The generated files by their path in the chart."""
    rows = settings()
    values = (CHART / "values.yaml").read_text(encoding="utf-8")
    kept = [{"path": row.path, "variable": row.variable, "secret": row.secret} for row in _free(rows)]
    return {
        "values.schema.json": json.dumps(schema(rows), indent=2, ensure_ascii=False) + "\n",
        "README.md": readme((HERE / "README.md.in").read_text(encoding="utf-8"), values, rows),
        "files/settings.json": "[\n" + ",\n".join(map(json.dumps, kept)) + "\n]\n",  # one setting a line
        "files/dashboard.json": monitoring_files()["dashboard.json"],
    }


def drifted(chart: Path = CHART) -> list[str]:
    """The files that are not what is made now."""
    return [
        name
        for name, text in files().items()
        if not (chart / name).exists() or (chart / name).read_text(encoding="utf-8") != text
    ]


def _free(rows: Iterable[Setting]) -> list[Setting]:
    """Settings that the chart does not decide."""
    return [row for row in rows if row.path[0] not in MOUNTED]


def schema(rows: Iterable[Setting]) -> Schema:
    """JSON Schema of values.yaml, strict at every level: a name or value that does not exist is refused."""
    rows = _free(rows)
    made: Schema = _trimmed(Values.model_json_schema(by_alias=True))
    config = _tree(row for row in rows if not row.secret) | {"required": ["operations"]}
    config["properties"]["operations"]["required"] = ["metrics_port"]  # of Services and probes of Prometheus
    keys = {"type": "array", "uniqueItems": True, "items": {"enum": [row.variable for row in rows if row.secret]}}
    existing = {"name": TypeAdapter(Name).json_schema(), "keys": keys}
    made["properties"] |= {
        "config": config,
        "secretConfig": _tree(row for row in rows if row.secret),
        "existingSecret": _group() | {"properties": existing, "required": ["name", "keys"]},
        "global": {"type": "object", "description": "Helm's own; not read."},
    }
    made["required"] += ["config", "secretConfig", "existingSecret"]
    return {"$schema": _DRAFT, "title": "Values of the chart quantum-rerank", **made}


def _tree(rows: Iterable[Setting]) -> Schema:
    """The settings as they nest, each with its bounds."""
    root: Schema = _group()
    for row in rows:
        group = root
        for name in row.path[:-1]:
            group = group["properties"].setdefault(name, _group())
        group["properties"][row.path[-1]] = row.schema | {"description": row.description}
    return root


def _group() -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": {}}


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


def readme(template: str, values: str, rows: Iterable[Setting]) -> str:
    """The template with its two tables in their places; ValueError if a value lacks its meaning."""
    return template.replace("<!-- values -->", _values_table(values)).replace(
        "<!-- settings -->", _settings_table(rows)
    )


def documented(values: str) -> dict[str, str]:
    """What the comments say, by the value's path: `image.tag`."""
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    said = ""
    for line in values.splitlines():
        if comment := _COMMENT.match(line):
            said = comment["text"]
        elif key := _KEY.match(line):
            depth = len(key["indent"])
            above = [(indent, name) for indent, name in above if indent < depth] + [(depth, key["name"])]
            if said:
                found[".".join(name for _, name in above)] = said
            said = ""
    return found


def _values_table(text: str) -> str:
    said = documented(text)
    rows = ["| value | default | |", "|---|---|---|"]
    for path, default in _leaves(yaml.safe_load(text), "", said):
        if path not in said:
            raise ValueError(f"values.yaml does not say what {path} is: put `# -- …` above it")
        rows.append(f"| `{path}` | {_cell(default)} | {_escaped(said[path])} |")
    return "\n".join(rows)


def _leaves(values: dict[str, Any], before: str, said: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """Every value that is described; of a map that is described as a whole, the whole."""
    for name, value in values.items():
        path = f"{before}{name}"
        if isinstance(value, dict) and value and path not in said:
            yield from _leaves(value, f"{path}.", said)
        else:
            yield path, value


def _settings_table(settings: Iterable[Setting]) -> str:
    rows = ["| value | variable | type and bounds | default | |", "|---|---|---|---|---|"]
    for setting in settings:
        path = ".".join(setting.path)
        value, default = f"`{'secretConfig' if setting.secret else 'config'}.{path}`", _cell(setting.default)
        if path in MOUNTED:
            value, default = "the chart's", f"`{MOUNTED[path]}`"
        description = _escaped(setting.description)
        rows.append(f"| {value} | `{setting.variable}` | {setting.kind} | {default} | {description} |")
    return "\n".join(rows)


def _cell(value: object) -> str:
    """A default; of lists and maps that fill a line, none: values.yaml shows them."""
    text = json.dumps(value, ensure_ascii=False)
    if value in (None, "", [], {}):
        return ""
    return f"`{_escaped(text)}`" if len(text) <= 80 else "see values.yaml"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
