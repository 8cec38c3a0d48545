"""Write the chart's generated files: `python -m scripts.chart`.

values.schema.json is written by hand, but for what the settings say: `config`, `secretConfig` and the secrets' names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import typer

from monitoring.__main__ import files as monitoring_files
from scripts.chart import CHART
from scripts.configuration import Schema, Setting, settings

MOUNTED = {"data_dir": "/data", "model_dir": "/models"}  # fixed by the chart: the mount points of its volumes


def files() -> Mapping[str, str]:
    """The generated files by their path in the chart."""
    rows = [row for row in settings() if row.path[0] not in MOUNTED]
    entries = [{"path": row.path, "variable": row.variable, "secret": row.secret} for row in rows]
    return {
        "values.schema.json": json.dumps(schema(rows), indent=2, ensure_ascii=False) + "\n",
        "files/settings.json": "[\n" + ",\n".join(map(json.dumps, entries)) + "\n]\n",  # one setting per line
        "files/dashboard.json": monitoring_files()["dashboard.json"],
    }


def schema(rows: Iterable[Setting]) -> Schema:
    """The committed JSON Schema of values.yaml, with the settings as they are now."""
    values: Schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    config = _tree(row for row in rows if not row.secret) | {"required": ["operations"]}
    config["properties"]["operations"]["required"] = ["metrics_port"]  # used by Services and ServiceMonitors
    values["properties"] |= {"config": config, "secretConfig": _tree(row for row in rows if row.secret)}
    secrets = values["properties"]["existingSecret"]["properties"]["keys"]
    secrets["items"] = {"enum": [row.variable for row in rows if row.secret]}
    return values


def _tree(rows: Iterable[Setting]) -> Schema:
    """The nested schema of the settings, with their bounds; strict at every level."""
    root: Schema = _group()
    for row in rows:
        group = root
        for name in row.path[:-1]:
            group = group["properties"].setdefault(name, _group())
        group["properties"][row.path[-1]] = row.schema | {"description": row.description}
    return root


def _group() -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def main() -> None:
    """Write the chart's schema, list of settings and dashboard."""
    for name, text in files().items():
        (CHART / name).write_text(text, encoding="utf-8")
        print(f"wrote {CHART / name}")


if __name__ == "__main__":
    typer.run(main)
