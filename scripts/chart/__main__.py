"""Write what of the chart is made of something else: `python -m scripts.chart`; with `--check` only compare."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from scripts.chart import readme
from scripts.chart.schema import schema
from scripts.chart.settings_table import MOUNTED, Setting, settings

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CHART = ROOT / "helm" / "quantum-rerank"
COPIED = ("alerts.yml", "dashboard.json")  # Helm reads no file outside the chart


def files() -> Mapping[str, str]:
    """What is written, by its path in the chart."""
    rows = settings()
    copies = {f"files/{name}": (ROOT / "monitoring" / name).read_text(encoding="utf-8") for name in COPIED}
    template = (HERE / "README.md.in").read_text(encoding="utf-8")
    values = (CHART / "values.yaml").read_text(encoding="utf-8")
    return {
        "values.schema.json": json.dumps(schema(rows), indent=2, ensure_ascii=False) + "\n",
        "README.md": readme.written(template, values, rows),
        "files/settings.json": _rows(rows),
        **copies,
    }


def drifted(chart: Path = CHART) -> list[str]:
    """The files that are not what is made now."""
    return [
        name
        for name, text in files().items()
        if not (chart / name).exists() or (chart / name).read_text(encoding="utf-8") != text
    ]


def _rows(rows: list[Setting]) -> str:
    """What the templates make variables of: one setting a line."""
    kept = [
        {"path": row.path, "variable": row.variable, "secret": row.secret} for row in rows if row.path[0] not in MOUNTED
    ]
    return "[\n" + ",\n".join(json.dumps(row) for row in kept) + "\n]\n"


def main() -> int:
    """Write or compare; the exit status."""
    parser = argparse.ArgumentParser(description="Write the chart's schema, README and copies.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where something differs")
    given = parser.parse_args()
    if given.check:
        if wrong := drifted():
            print(f"{', '.join(wrong)}: not what is made now; run `python -m scripts.chart`", file=sys.stderr)
            return 1
        print(f"{len(files())} generated files of the chart are what the settings, values and rules make")
        return 0
    for name, text in files().items():
        (CHART / name).parent.mkdir(parents=True, exist_ok=True)
        (CHART / name).write_text(text, encoding="utf-8")
        print(f"wrote {(CHART / name).relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
